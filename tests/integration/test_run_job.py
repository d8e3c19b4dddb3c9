"""The whole job from its command line: exit codes, resuming, failed rows, interruptions. Mostly without Ray."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from jobs import run
from jobs.wiring import job

ROOT = Path(__file__).resolve().parents[2]
FAST = ["--executor", "serial", "--max-frames", "128", "--frames-per-group", "32"]


def never_start(*args, **kwargs):
    raise AssertionError("Ray was started")


@pytest.fixture
def no_ray(monkeypatch):
    monkeypatch.setattr(ray, "init", never_start)


@pytest.fixture
def arguments(archive, model_folder, tmp_path):
    """A command line over the archive, writing to ``tmp_path / "out"``."""

    def build(*extra, manifest=archive):
        return ["--manifest", str(manifest), "--output", str(tmp_path / "out"), "--model", str(model_folder), *extra]

    return build


@pytest.fixture
def write_manifest(archive, tmp_path):
    """A manifest in a folder of its own, beside copies of the archive's videos."""
    shutil.copytree(archive.parent / "videos", tmp_path / "in" / "videos")

    def write(rows):
        path = tmp_path / "in" / "manifest.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path

    return write


def row(question_id, video="videos/v000.mp4", question="What color is the star?", **other):
    return {"question_id": question_id, "video": video, "question": question, "options": ["red", "blue"], **other}


def summaries(output):
    found = [json.loads(path.read_text()) for path in Path(output).glob("runs/*/summary.json")]
    return sorted(found, key=lambda summary: summary["started_at"])


def files(output):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(output).glob("answers/**/*.parquet")}


def test_a_run_on_ray_answers_all_and_a_second_one_does_nothing(archive, model_folder, tmp_path, read_rows):
    """The one test of the real command, in a process of its own, with Ray."""
    output = tmp_path / "out"
    command = [sys.executable, str(ROOT / "jobs" / "run.py"), "--manifest", str(archive), "--output", str(output)]
    command += ["--model", str(model_folder), "--max-frames", "128", "--frames-per-group", "32"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert first.returncode == 0, first.stderr
    assert "6 answered, 0 failed, 0 done earlier" in first.stdout
    for noise in ("Traceback", "Loading weights", "Token authentication", "WARNING"):
        assert noise not in first.stderr
    before = files(output)
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert second.returncode == 0, second.stderr
    assert "0 answered, 0 failed, 6 done earlier" in second.stdout
    assert files(output) == before
    assert [row["status"] for row in read_rows(output)] == ["ok"] * 6
    counts = [(s["num_ok"], s["num_skipped"], s["num_groups_encoded"], s["exit_code"]) for s in summaries(output)]
    assert counts == [(6, 0, 8, 0), (0, 6, 0, 0)]


def test_a_new_question_on_an_old_video_pays_only_for_itself(arguments, write_manifest, tmp_path, no_ray, read_rows):
    old = [row("a", note=1), row("b", video="videos/v001.mp4", note=2)]
    assert run.main(arguments(*FAST, manifest=write_manifest(old))) == 0
    before = files(tmp_path / "out")
    new = [*old, row("c", question="What color is the ring?", note=3)]
    assert run.main(arguments(*FAST, manifest=write_manifest(new))) == 0
    after = files(tmp_path / "out")
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 1
    second = summaries(tmp_path / "out")[1]
    assert (second["num_ok"], second["num_skipped"], second["num_videos"]) == (1, 2, 1)
    assert second["num_groups_encoded"] == 4
    assert [(r["question_id"], r["note"]) for r in read_rows(tmp_path / "out")] == [("a", 1), ("b", 2), ("c", 3)]


def test_limit_answers_only_the_first_rows(arguments, no_ray, tmp_path, read_rows):
    assert run.main(arguments(*FAST, "--limit", "2")) == 0
    assert len(read_rows(tmp_path / "out")) == 2


def test_poison_ends_as_failed_rows_and_the_good_video_is_answered(
    arguments, write_manifest, tmp_path, no_ray, read_rows, capsys
):
    (tmp_path / "in" / "videos" / "text.mp4").write_text("#EXTM3U\nhttp://elsewhere/secret\n" * 20)
    rows = [row("gone", video="videos/gone.mp4"), row("text", video="videos/text.mp4"), row("well")]
    manifest = write_manifest(rows)
    assert run.main(arguments(*FAST, manifest=manifest)) == 3
    found = {r["question_id"]: (r["status"], r["error_class"]) for r in read_rows(tmp_path / "out")}
    assert found == {
        "gone": ("failed", "not_found"),
        "text": ("failed", "unsupported_media"),
        "well": ("ok", None),
    }
    printed = capsys.readouterr().out
    assert "1 answered, 2 failed" in printed
    assert "text: unsupported_media: " in printed
    shutil.rmtree(tmp_path / "out")
    assert run.main(arguments(*FAST, "--max-failures", "5", manifest=manifest)) == 0


def test_failed_questions_are_tried_again_only_on_demand(arguments, write_manifest, tmp_path, no_ray, read_rows):
    manifest = write_manifest([row("late", video="videos/late.mp4")])
    assert run.main(arguments(*FAST, manifest=manifest)) == 3
    assert run.main(arguments(*FAST, manifest=manifest)) == 0
    assert summaries(tmp_path / "out")[1]["num_skipped"] == 1
    shutil.copy(tmp_path / "in" / "videos" / "v000.mp4", tmp_path / "in" / "videos" / "late.mp4")
    assert run.main(arguments(*FAST, "--retry-failed", manifest=manifest)) == 0
    assert {r["status"] for r in read_rows(tmp_path / "out")} >= {"ok"}


def test_a_question_that_failed_and_is_tried_again_keeps_one_row(
    arguments, write_manifest, tmp_path, no_ray, read_rows
):
    """The video is there and stays as it is; what made it fail is a setting that changes no answer."""
    manifest = write_manifest([row("a"), row("b", question="What color is the ring?")])
    small = ["--set", "reading.max_file_bytes=1000"]
    assert run.main(arguments(*FAST, *small, manifest=manifest)) == 3
    assert [r["error_class"] for r in read_rows(tmp_path / "out")] == ["too_large"] * 2
    assert run.main(arguments(*FAST, "--limit", "1", "--retry-failed", manifest=manifest)) == 0
    found = [(r["question_id"], r["status"]) for r in read_rows(tmp_path / "out")]
    assert found == [("a", "ok"), ("b", "failed")]


def test_results_can_be_parted_by_a_column(arguments, write_manifest, tmp_path, no_ray, read_rows, capsys):
    manifest = write_manifest([row("a", day="2026-01-31"), row("b", video="videos/v001.mp4", day="2026-02-01")])
    assert run.main(arguments(*FAST, "--partition-by", "day", manifest=manifest)) == 0
    folders = {path.parent.name for path in files(tmp_path / "out")}
    assert folders == {"day=2026-01-31", "day=2026-02-01"}
    assert run.main(arguments(*FAST, "--partition-by", "dya", manifest=manifest)) == 2
    assert "cannot partition by 'dya'" in capsys.readouterr().err


def test_bad_rows_fail_alone_when_asked_to_skip_them(arguments, write_manifest, tmp_path, no_ray, read_rows):
    manifest = write_manifest([row("good"), row("bad", question="")])
    assert run.main(arguments(*FAST, "--skip-bad-rows", manifest=manifest)) == 3
    found = {r["question_id"]: (r["status"], r["error_class"]) for r in read_rows(tmp_path / "out")}
    assert found == {"good": ("ok", None), "bad": ("failed", "manifest")}


@pytest.mark.parametrize(
    ("rows", "extra", "expected"),
    [
        ([row("a"), row("b", question="")], (), ("row 2, column question",)),
        ([{"question_id": "a", "video": "v.mp4"}], (), ("column 'question' is missing",)),
        ([row("a")], ("--set", "budget.token_budgt=5"), ("token_budgt", "token_budget")),
        ([row("a")], ("--set", "budget.tau=0"), ("budget.tau must be positive",)),
        ([row("a")], ("--set", "scoring.reference_layer=99"), ("scoring.reference_layer", "99")),
        ([row("a")], ("--model", "/does/not/exist"), ("/does/not/exist", "folder that does not exist")),
        ([row("a")], ("--limit", "0"), ("limit must be at least 1",)),
        ([row("a")], ("--config", "/no/such.yaml"), ("/no/such.yaml",)),
    ],
)
def test_a_mistake_of_the_user_exits_2_before_anything_starts(
    rows, extra, expected, arguments, write_manifest, tmp_path, no_ray, capsys
):
    assert run.main(arguments(*extra, manifest=write_manifest(rows))) == 2
    printed = capsys.readouterr()
    for words in expected:
        assert words in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "out").exists()


def test_a_machine_without_the_gpus_asked_for_is_refused_before_ray_starts(
    arguments, monkeypatch, no_ray, tmp_path, capsys
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert run.main(arguments("--set", "execution.gpus_per_scorer=2")) == 2
    assert "lower execution.num_scorers or execution.gpus_per_scorer" in capsys.readouterr().err
    assert summaries(tmp_path / "out")[0]["exit_code"] == 2


def test_a_bug_leaves_a_summary_with_exit_code_1(arguments, monkeypatch, no_ray, tmp_path):
    def broken(config, *, storage_options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(job, "load_configured_model", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run.main(arguments(*FAST))
    assert summaries(tmp_path / "out")[0]["exit_code"] == 1


@pytest.mark.slow
def test_a_signal_that_comes_while_ray_waits_is_an_interruption_too(no_ray):
    program = """
import os, ray, signal, threading
from jobs.wiring.interruption import raise_on_signals
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
for number, wait in ((signal.SIGINT, ray.wait), (signal.SIGTERM, ray.get)):
    unschedulable = ray.remote(num_cpus=9)(lambda: None).remote()
    with raise_on_signals() as guard:
        try:
            threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
            wait([unschedulable], timeout=30)
        except KeyboardInterrupt:
            print("ended with", guard.exit_code, flush=True)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.stdout == "ended with 130\nended with 143\n", ended.stderr


HELD_AT_THE_SECOND_VIDEO = """
import sys, time
from pathlib import Path
from jobs import run
from pipeline.passes.group_pass import GroupScorer

output, launch, num_begun = Path(sys.argv[1]), GroupScorer.launch, 0

def launch_one(self, *args):
    global num_begun
    num_begun += any(output.glob("answers/**/*.parquet"))
    if num_begun == 2:
        output.with_name("held").touch()
        time.sleep(300)
    return launch(self, *args)

GroupScorer.launch = launch_one
sys.exit(run.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (signal.SIGINT, 130),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in ((signal.SIGTERM, 143), (signal.SIGKILL, -9))),
    ],
)
def test_an_interrupted_run_says_so_and_the_same_command_pays_only_for_what_was_not_committed(
    number, exit_code, arguments, archive, tmp_path, no_ray, read_rows
):
    """The signal comes when the first video is on record, and the second one's first group has been scored."""
    one_by_one = ("--set", "execution.videos_in_flight=1", "--set", "scoring.question_batch=1")
    words = arguments("--executor", "serial", "--frames-per-group", "32", *one_by_one)
    command = [sys.executable, "-c", HELD_AT_THE_SECOND_VIDEO, str(tmp_path / "out"), *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "held").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    printed = process.communicate(timeout=60)
    assert process.returncode == exit_code, printed
    assert "Traceback" not in printed[1]
    if number != signal.SIGKILL:
        assert "interrupted; the same command goes on from here" in printed[1]
        assert summaries(tmp_path / "out")[0]["exit_code"] == exit_code
    before = read_rows(tmp_path / "out")
    assert len(before) == 3
    assert run.main(words) == 0
    rows, second = read_rows(tmp_path / "out"), summaries(tmp_path / "out")[-1]
    assert [r["status"] for r in rows] == ["ok"] * 6
    assert second["num_skipped"] == 3
    paid_for = {r["video"]: r["num_groups"] for r in rows if r["run_id"] != before[0]["run_id"]}
    assert len(paid_for) == 1
    assert second["num_groups_encoded"] == sum(paid_for.values()) > 0
