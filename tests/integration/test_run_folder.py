"""What the main job says about itself: its plan, its run folder, its log. Without Ray."""

import json

import pytest
import ray

from jobs import run

FAST = ("--executor", "serial", "--max-frames", "128", "--frames-per-group", "32")


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
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "progress.json", "summary.json"]
    progress = json.loads((folder / "progress.json").read_text())
    assert (progress["num_questions_done"], progress["num_groups_scored"], progress["eta_s"]) == (1, 4, 0.0)
    log = capsys.readouterr().err
    assert log.count("1 ok, 0 failed; 4 of 4 groups scored; attempt 1") == 1
    for words in (
        ": method adapttoken, settings ",
        "INFO model ",
        "INFO manifest: 1 questions",
        "INFO plan: 1 questions",
        "exit code 0",
    ):
        assert log.count(words) == 1
