"""What the main job says about itself: its plan, its run folder, its log. Without Ray."""

import hashlib
import importlib.metadata
import json
import os
from datetime import datetime, timedelta

import pytest
import ray

from jobs import run
from jobs.wiring import version

FAST = ("--executor", "serial", "--max-frames", "128", "--frames-per-group", "32")
FILES = ["config.yaml", "progress.json", "provenance.json", "summary.json"]


@pytest.fixture
def no_ray(monkeypatch):
    def never_start(*args, **kwargs):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", never_start)


@pytest.fixture
def arguments(archive, model_folder, tmp_path):
    """A command line over the archive, writing to ``tmp_path / "out"``."""

    def build(*extra, manifest=archive):
        return ["--manifest", str(manifest), "--output", str(tmp_path / "out"), "--model", str(model_folder), *extra]

    return build


def test_a_plan_says_what_is_left_and_writes_nothing(arguments, archive, tmp_path, no_ray, capsys):
    assert run.main(arguments(*FAST, "--plan", "--plan-output", str(tmp_path / "plan.json"))) == 0
    assert not (tmp_path / "out").exists()
    assert json.loads((tmp_path / "plan.json").read_text())["num_questions"] == 6
    assert run.main(arguments(*FAST, "--limit", "3")) == 0
    capsys.readouterr()
    assert run.main(arguments(*FAST, "--plan")) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert printed[0][:4] == ["questions", "to", "answer", "3"]
    assert printed[1] == ["done", "earlier", "3"]
    assert run.main(arguments("--plan", manifest=tmp_path / "none.csv")) == 2


def test_the_run_folder_holds_settings_progress_and_summary(arguments, tmp_path, no_ray, capsys):
    assert run.main(arguments(*FAST, "--limit", "1", "--progress-interval-s", "0")) == 0
    [folder] = (tmp_path / "out" / "runs").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == FILES
    progress = json.loads((folder / "progress.json").read_text())
    assert (progress["num_questions_done"], progress["num_groups_scored"], progress["eta_s"]) == (1, 4, 0.0)
    log = capsys.readouterr().err
    assert log.count("1 ok, 0 failed; 4 of 4 groups scored; attempt 1") == 1
    for words in (
        ": method adapttoken, settings ",
        "INFO model ",
        "INFO manifest: 1 question",
        "INFO plan: 1 question",
        "exit code 0",
    ):
        assert log.count(words) == 1


def test_the_run_folder_says_what_was_typed_by_which_code_over_which_manifest(arguments, archive, tmp_path, no_ray):
    typed = arguments(*FAST, "--limit", "1", "--storage-options", '{"key": "k-id", "secret": "hidden-word"}')
    assert run.main([*typed, "--set", "execution.max_runs=4"]) == 0
    [path] = (tmp_path / "out" / "runs").glob("*/provenance.json")
    found = json.loads(path.read_text())
    assert found["command"] == [
        "run.py",
        *typed[: typed.index("--storage-options")],
        *("--storage-options", "***", "--set", "execution.max_runs=4"),
    ]
    assert "hidden-word" not in path.read_text()
    (manifest,) = found["manifest"]
    assert manifest["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (manifest["uri"], manifest["num_bytes"]) == (str(archive), archive.stat().st_size)
    for package in ("torch", "transformers", "ray", "av"):
        assert found["versions"][package] == importlib.metadata.version(package)
    assert found["package"]["version"] == version.project_version()
    assert found["machine"]["num_cpus"] == os.cpu_count()
    assert found["cluster"]["nodes"] == [{"num_nodes": 1, "cpus": os.cpu_count(), "gpus": 0}]


def test_a_log_of_json_holds_everything_and_nothing_else(arguments, no_ray, capsys):
    assert run.main(arguments(*FAST, "--limit", "1", "--log-format", "json", "--progress-every", "0.001")) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all(datetime.fromisoformat(event["time"]).utcoffset() == timedelta(0) for event in events)
    assert {event["level"] for event in events} == {"info"}
    said = [event["message"] for event in events]
    assert any(line.startswith("plan: 1 question ") for line in said)
    assert any("videos 0/1" in line or "videos 1/1" in line for line in said)


REFUSED = [
    (("--set", "gpus_per_scorer=1", "--num-scorers", "8"), "on this machine: 2 model processes"),
    (
        ("--cluster-shape", "2x4cpu", "--set", "gpus_per_scorer=1"),
        "on the cluster of --cluster-shape: 1 model",
    ),
    (("--cluster-shape", "2x16cpu2gpu", "--set", "gpus_per_scorer=4"), "the GPUs of one scorer must be on one node"),
]


@pytest.mark.parametrize(("words", "expected"), REFUSED)
def test_a_plan_for_machines_that_cannot_hold_it_is_refused(words, expected, arguments, no_ray, capsys):
    assert run.main(arguments("--max-frames", "128", "--plan", "--plan-probes", "1", *words)) == 2
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if " ERROR " in line]
    assert expected in line
    assert "does NOT fit" in printed.out


def test_a_plan_for_another_cluster_takes_its_gpus_and_cores(arguments, no_ray, capsys):
    shape = ("--cluster-shape", "1x4cpu+8x16cpu1gpu")
    assert run.main(arguments("--max-frames", "128", "--plan", "--plan-probes", "1", *shape)) == 0
    printed = capsys.readouterr()
    assert "(9 nodes, 132 CPUs, 8 GPUs): 8 scorers, 1 GPUs each, 56 decoders" in printed.err
    assert "8 scorers, 56 decoders: fits" in printed.out


def test_a_large_model_is_not_planned_for_the_cpu_of_a_machine_without_gpus(arguments, no_ray, capsys, monkeypatch):
    monkeypatch.setattr("jobs.wiring.plan.MOST_ON_CPU", 1_000)
    assert run.main(arguments("--max-frames", "128", "--plan", "--plan-probes", "1")) == 2
    assert "this machine has no GPU that torch can use" in capsys.readouterr().err
    assert run.main(arguments("--max-frames", "128", "--plan", "--plan-probes", "1", "--set", "gpus_per_scorer=0")) == 0


@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_nor_does_it_run_there(executor, arguments, no_ray, capsys, monkeypatch):
    monkeypatch.setattr("jobs.wiring.executors.MOST_ON_CPU", 1_000)
    assert run.main(arguments("--max-frames", "128", "--executor", executor)) == 2
    assert "add --set gpus_per_scorer=0 --set torch_threads=" in capsys.readouterr().err
