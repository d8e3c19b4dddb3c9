"""The one script for a machine with a GPU: sound shell, 12 minutes at most, and every command in it is understood."""

import argparse
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "jobs" / "lab" / "on_a_gpu.sh"
NAMES = ["tests", "checkpoint", "doctor", "model-short", "model-long-1", "model-long-4", "model-long-16"]
_STEP = re.compile(r" *(\d+) s  (\S+) +(.*)")


class ParsedError(Exception):
    """The parser took all of it; nothing is started."""


def plan(**settings):
    """Step -> its limit in seconds and its command's words; and the limit of all."""
    environment = {**os.environ, **settings}
    done = subprocess.run([SCRIPT, "--plan"], env=environment, capture_output=True, text=True, check=True)
    *steps, last = done.stdout.splitlines()
    found = {name: (int(limit_s), shlex.split(words)) for limit_s, name, words in map(_match, steps)}
    return found, int(last.split()[0])


def _match(line):
    return _STEP.fullmatch(line).groups()


def test_it_is_sound_shell():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")
    assert os.access(SCRIPT, os.X_OK)


def test_all_steps_together_take_twelve_minutes_at_most():
    steps, total_s = plan()
    seconds_to_die = int(re.search(r"--kill-after=(\d+)", SCRIPT.read_text())[1])
    assert list(steps) == NAMES
    assert total_s == sum(limit_s for limit_s, _ in steps.values())
    assert total_s + len(steps) * seconds_to_die <= 12 * 60


def test_it_asks_for_what_was_wanted():
    steps, _ = plan()
    assert " -m gpu " in " ".join(steps["tests"][1]) + " "
    assert "--num-frames 4096 --questions 1,4,16" in " ".join(steps["model-short"][1])
    for count in (1, 4, 16):
        assert f"--num-frames 10000 --questions {count} " in " ".join(steps[f"model-long-{count}"][1])


@pytest.mark.parametrize("shape", ["qwen2.5-vl-7b", "tiny"])
@pytest.mark.parametrize("name", NAMES[1:])
def test_every_command_is_understood_by_its_job(shape, name, monkeypatch):
    _, (python, path, *words) = plan(SHAPE=shape)[0][name]
    real = argparse.ArgumentParser.parse_args

    def parse(self, *args):
        real(self, *args)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    assert python == "python3"
    main = importlib.import_module(path.removesuffix(".py").replace("/", ".")).main
    with pytest.raises(ParsedError):
        main(words)


def test_a_checkpoint_that_is_there_is_examined_and_none_is_made(tmp_path):
    steps, _ = plan(CHECKPOINT=str(tmp_path))
    assert "checkpoint" not in steps
    assert steps["doctor"][1][3] == str(tmp_path)


def test_some_of_the_steps_can_be_asked_for():
    assert list(plan(STEPS="doctor tests")[0]) == ["tests", "doctor"]


def test_what_it_does_not_know_it_refuses():
    done = subprocess.run([SCRIPT, "--help-me"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: jobs/lab/on_a_gpu.sh [--plan]\n")


HIDDEN = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in MISSING else PathFinder.find_spec(name, path, target)

MISSING = {"ray", "s3fs", "botocore", "boto3", "aiobotocore", "moto", "duckdb", "decord", "polars", "jsonschema"}
sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs_whole_with_a_tiny_shape_on_a_machine_without_ray_and_stores(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    settings = {"SHAPE": "tiny", "OUT": str(tmp_path / "out"), "TMPDIR": str(tmp_path), "PYTHON": sys.executable}
    settings["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run([SCRIPT], env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    records = json.loads((tmp_path / "out" / "steps.json").read_text())
    assert [(record["step"], record["exit_code"]) for record in records] == [(name, 0) for name in NAMES], done.stdout
    assert done.returncode == 0
    for name in ("model-64", "model-128-1", "model-128-4", "model-128-16"):
        assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["runs"]
    assert "group pass" in (tmp_path / "out" / "doctor.md").read_text()
    assert not (tmp_path / "adapttoken-random-tiny").exists()


def test_a_step_that_takes_too_long_is_ended_and_the_others_go_on(tmp_path):
    sleeper, script = tmp_path / "python", tmp_path / "jobs" / "lab" / "on_a_gpu.sh"
    sleeper.write_text('#!/usr/bin/env bash\n[[ $* != "-m pytest"* ]] || exec sleep 100\n')
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT.read_text().replace("step tests 60 ", "step tests 1 "))
    for path in (sleeper, script):
        path.chmod(0o755)
    settings = {"OUT": str(tmp_path / "out"), "PYTHON": str(sleeper), "TMPDIR": str(tmp_path)}
    done = subprocess.run([script], env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    records = json.loads((tmp_path / "out" / "steps.json").read_text())
    assert [record["exit_code"] for record in records] == [124, 0, 0, 0, 0, 0, 0]
    assert records[1]["limit_s"] <= 45  # nothing is left of the first
    assert records[2]["limit_s"] > 130 - 1  # what the second has left is the third's
    assert done.returncode == 1
    assert "== tests: exit code 124" in (tmp_path / "out" / "figures.txt").read_text()
