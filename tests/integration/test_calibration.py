"""What a calibration promises from the rows of a full run is what a Lite run with its preset does."""

import pyarrow as pa
import pytest

from actors.serial_executor import run_serial
from jobs import calibrate as job
from pipeline.evaluation.analysis.asked_questions import read_questions
from pipeline.evaluation.analysis.calibration import Target, calibrate
from pipeline.evaluation.analysis.calibration_report import preset_yaml
from pipeline.evaluation.analysis.replay import replay
from pipeline.settings.config import RunConfig
from pipeline.settings.reading import load_config


def test_lite_with_a_calibrated_threshold_scores_exactly_the_promised_groups(make_job, rows_of, serial_rows, tmp_path):
    full = read_questions(pa.Table.from_pylist(serial_rows("adapttoken")))
    calibration = calibrate(full, Target(groups_share=0.6), confident_groups=2)
    preset = tmp_path / "preset.yaml"
    preset.write_text(preset_yaml(calibration))
    stop_entropy = load_config(RunConfig(), yaml_uri=str(preset)).stopping.stop_entropy
    rows = rows_of(run_serial(make_job("adapttoken-lite", **{"stopping.stop_entropy": repr(stop_entropy)})))
    by_id = {row["question_id"]: row for row in rows}
    stops = {item.question_id: replay(item, confident_groups=2, stop_entropy=stop_entropy) for item in full}
    scored = {name: row["num_groups_scored"] for name, row in by_id.items()}
    assert scored == {name: stop.num_groups_scored for name, stop in stops.items()}
    assert sum(scored.values()) / (6 * 19) == pytest.approx(calibration.chosen.groups_share.value)
    assert 0 < sum(stop.is_early for stop in stops.values()) <= 6
    for question in full:  # what was not stopped is the full method's answer, bit for bit
        if not stops[question.question_id].is_early:
            assert by_id[question.question_id]["answer"] == question.answer


def test_the_job_writes_settings_figures_and_the_trade_off(serial_rows, tmp_path, monkeypatch, capsys):
    table = pa.Table.from_pylist(serial_rows("adapttoken"))
    monkeypatch.setattr(job, "read_answers", lambda run, storage_options: table)
    files = [str(tmp_path / name) for name in ("preset.yaml", "figures.json", "trade.png")]
    arguments = ["run", "--output", files[0], "--groups-share", "0.6", "--labels", "expected"]
    assert job.main([*arguments, "--json", files[1], "--plot", files[2]]) == 0
    assert load_config(RunConfig(), yaml_uri=files[0]).stopping.confident_groups == 2
    assert (tmp_path / "trade.png").read_bytes().startswith(b"\x89PNG")
    assert "at most 60 % of the groups" in capsys.readouterr().out
    refused = str(tmp_path / "refused.yaml")
    assert job.main(["run", "--output", refused, "--groups-share", "0.01", "--labels", "expected"]) == 3
    assert f"error: {refused} is not written: at most 1 % of the groups is not kept" in capsys.readouterr().err
    assert not (tmp_path / "refused.yaml").exists()
    assert job.main([*arguments[:-1], "truth"]) == 2
    assert "--labels names no column of run: 'truth'" in capsys.readouterr().err
