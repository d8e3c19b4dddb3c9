"""What a run keeps and writes about itself: progress, settings, summary, log lines."""

import json
import logging
import re
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from jobs.wiring.logs import LOG, configure_logging
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.progress import Progress
from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.manifest.questions import Question
from pipeline.results import written_rows
from pipeline.results.rows import RunStamp, failed_result
from pipeline.results.schema import results_table
from pipeline.results.summary import summarize
from pipeline.results.written_rows import MAX_FAILURES, WrittenRows
from pipeline.settings.config import RunConfig
from pipeline.settings.reading import to_dict
from pipeline.watch.pace import Outlook
from pipeline.watch.run_folder import RunFolder, describe_progress_file

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
STAMP = RunStamp(run_id="r1", method="m", model="d", model_revision=None, config_hash="c")


def progress(done):
    return Progress(
        num_videos=10,
        num_videos_done=done // 4,
        num_questions=40,
        num_questions_done=done,
        num_groups_scored=done * 5,
        num_groups_planned=300,
    )


def failed_rows(*indices, **columns):
    failure = Failure(failure_class=FailureClass.NOT_FOUND, message="gone")
    rows = []
    for index in indices:
        question = Question(question_id=f"q{index}", video=f"/v{index}.mp4", text="t", options=None, row_index=index)
        rows.append(failed_result(question, failure, question_key=f"k{index}", stamp=STAMP, finished_at=NOON))
    return results_table(rows, pa.table({}))


def test_progress_json_holds_counts_seconds_and_outlook():
    counts = replace(progress(10), stage_seconds=StageSeconds(score_s=2.00049), frame_bytes=7, open_share=0.5)
    outlook = Outlook(elapsed_s=20.01, eta_s=60.0, questions_per_minute=30.0)
    content = describe_progress_file(counts, outlook, run_id="r1", now=NOON)
    assert json.loads(json.dumps(content)) == content
    assert content["updated_at"] == "2026-01-31T12:00:00+00:00"
    assert (content["elapsed_s"], content["eta_s"], content["busy_share"]) == (20.01, 60.0, None)
    assert (content["num_questions_done"], content["frame_bytes"]) == (10, 7)
    assert content["stage_seconds"]["score_s"] == 2.0
    assert not {"ended", "open_share"} & content.keys()


def test_every_field_of_progress_json_is_explained():
    text = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text()
    content = describe_progress_file(progress(1), Outlook(elapsed_s=1.0), run_id="r1", now=NOON)
    assert not [name for name in content if f"`{name}`" not in text]


def test_progress_is_written_now_and_then_and_at_the_end(tmp_path):
    now = [100.0]
    folder = RunFolder(str(tmp_path), "r1", progress_interval_s=10, now_s=lambda: now[0])
    path = tmp_path / "runs" / "r1" / "progress.json"
    seen = []
    for now[0], done in ((101.0, 1), (105.0, 2), (111.0, 3), (112.0, 4)):
        folder.note_progress(progress(done), Outlook(elapsed_s=now[0]))
        seen.append(json.loads(path.read_text())["num_questions_done"])
    assert seen == [1, 1, 3, 3]
    for ways in ({"fusion": "off"}, {}, {"fusion": "4 of 4 calls"}, {"fusion": "4 of 4 calls"}):  # {}: a decoder
        folder.note_worker(ways)
    folder.write_summary({"exit_code": 0})
    last = json.loads(path.read_text())
    assert (last["num_questions_done"], last["elapsed_s"]) == (4, 112.0)
    assert json.loads((path.parent / "summary.json").read_text()) == {
        "exit_code": 0,
        "workers": [{"num_workers": 2, "fusion": "4 of 4 calls"}, {"num_workers": 1, "fusion": "off"}],
    }


def test_the_settings_are_written_as_resolved(tmp_path):
    RunFolder(str(tmp_path), "r1").write_config(RunConfig(method="uniform"))
    content = yaml.safe_load((tmp_path / "runs" / "r1" / "config.yaml").read_text())
    assert content == json.loads(json.dumps(to_dict(RunConfig(method="uniform"))))


@pytest.mark.parametrize("batch", [1, 2, 256])
def test_a_summary_of_what_was_kept_equals_that_of_all_columns(monkeypatch, batch):
    monkeypatch.setattr(written_rows, "_BATCH", batch)
    tables = [failed_rows(0, 1), failed_rows(2), failed_rows(*range(3, 9))]
    written = WrittenRows()
    for table in tables:
        written.add(table.append_column("site", pa.array(["x"] * table.num_rows)))
    times = {"stamp": STAMP, "started_at": NOON, "finished_at": NOON, "wall_s": 1.0, "exit_code": 3}
    assert summarize(written.table(), **times) == summarize(pa.concat_tables(tables), **times)
    assert written.num_failed == 9
    assert [failure["question_id"] for failure in written.failures] == [f"q{i}" for i in range(MAX_FAILURES)]
    assert pc.sum(pc.equal(written.table().column("status"), "failed")).as_py() == 9


def test_nothing_written_is_a_summary_of_nothing():
    times = {"stamp": STAMP, "started_at": NOON, "finished_at": NOON, "wall_s": 1.0, "exit_code": 0}
    assert summarize(WrittenRows().table(), **times)["num_questions"] == 0


def test_the_log_is_one_line_per_event_without_credentials(capsys):
    configure_logging("info", secrets=("hidden-token",))
    LOG.info("video %s: %s", "https://user:pw@host/v.mp4?sig=abc", "hidden-token")
    LOG.debug("too much")
    [line] = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO video https://host/v\.mp4 \*\*\*", line)


def test_as_json_it_hides_the_same_and_keeps_a_traceback_in_its_line(capsys):
    configure_logging("info", form="json", secrets=("hidden-token",))
    try:
        raise ValueError("hidden-token")
    except ValueError:
        LOG.exception("video %s: %s", "https://user:pw@host/v.mp4?sig=abc", "hidden-token")
    [line] = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert event["message"] == "video https://host/v.mp4 ***"
    assert (event["level"], event["logger"]) == ("error", "adapttoken")
    assert event["traceback"].endswith("ValueError: ***")
    assert "hidden" not in line


def test_a_traceback_in_the_log_is_redacted_too(capsys):
    configure_logging("error", secrets=("hidden-token",))
    try:
        raise ValueError("hidden-token")
    except ValueError:
        LOG.exception("failed")
    printed = capsys.readouterr().err
    assert "ValueError: ***" in printed
    assert "hidden" not in printed


def test_libraries_are_calm_unless_everything_is_to_be_seen():
    with warnings.catch_warnings():
        configure_logging("info")
        assert logging.getLogger("botocore").getEffectiveLevel() == logging.ERROR
        assert any(entry[0] == "ignore" and entry[2] is FutureWarning for entry in warnings.filters)


def test_an_output_that_is_taken_away_is_not_begun_anew(tmp_path):
    output = tmp_path / "out"
    folder = RunFolder(str(output), "r1", progress_interval_s=0)
    folder.check_is_there()  # nothing was written yet
    folder.write_config(RunConfig())
    folder.note_progress(progress(1), Outlook(elapsed_s=1.0, eta_s=None, questions_per_minute=None))
    output.rename(tmp_path / "away")
    for write in (
        folder.check_is_there,
        lambda: folder.note_progress(progress(2), Outlook(elapsed_s=2.0, eta_s=None, questions_per_minute=None)),
        lambda: folder.write_summary({"run_id": "r1"}),
    ):
        with pytest.raises(PipelineError, match=r"the output is gone: .*runs/r1 was there.*the same command goes on"):
            write()
    assert not output.exists()
    (tmp_path / "away").rename(output)
    folder.write_summary({"run_id": "r1"})
    assert sorted(path.name for path in output.glob("runs/r1/*")) == ["config.yaml", "progress.json", "summary.json"]
