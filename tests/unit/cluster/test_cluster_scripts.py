"""The shell scripts, really run, with stand-ins for Slurm, Ray and Python that write down what they are asked."""

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jobs.wiring.cli import build_parser
from jobs.wiring.provenance import find_commit

FOLDER = Path(__file__).resolve().parents[3] / "cluster"
NOTE = """#!/usr/bin/env bash
line=$(printf '%q ' "${0##*/}" "$@")
echo "$line" >> "$LOG"
"""
STAY = "trap 'kill $!; exit 143' TERM; sleep 60 & wait\n"


@pytest.fixture
def bench(tmp_path):
    """A folder of stand-ins; ``stand_in(name, lines)`` adds one, ``start`` runs a script among them."""
    log, commands = tmp_path / "log", tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    log.touch()

    class Bench:
        folder = tmp_path
        environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}", "LOG": str(log)}

        def stand_in(self, name, lines=""):
            path = commands / name
            path.write_text(NOTE + lines)
            path.chmod(0o755)

        def calls(self, name):
            lines = [shlex.split(line) for line in log.read_text().splitlines()]
            return [words[1:] for words in lines if words[0] == name]

        def start(self, script, *arguments, **environment):
            return subprocess.Popen(["bash", FOLDER / script, *arguments], env=self.environment | environment)

        def wait_for(self, name, first):
            deadline = time.monotonic() + 60
            while not [words for words in self.calls(name) if words[:1] == [first]] and time.monotonic() < deadline:
                time.sleep(0.02)

    return Bench()


@pytest.fixture
def slurm(bench):
    """Two nodes with four GPUs; ``start(driver=…)`` begins the batch script with a driver of these lines."""
    bench.stand_in("scontrol", '[ "$1" = show ] && printf "node7\\nnode8\\n"\nexit 0\n')
    both = 'shift\nSLURM_NODEID=0 "$@" & SLURM_NODEID=1 "$@" &\n'
    bench.stand_in("srun", f"{both}trap 'kill $(jobs -p)' TERM; wait\n")
    bench.stand_in("ray", '[ "$1" = start ] || exit 0\n' + STAY)

    def start(driver):
        bench.stand_in("python", driver)
        environment = {"SLURM_SUBMIT_DIR": str(bench.folder), "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_ID": "123"}
        environment |= {"SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "32", "SLURM_GPUS_ON_NODE": "4"}
        return bench.start("slurm.sh", "s3://b/m.parquet", "s3://b/out", "--method", "adapttoken-lite", **environment)

    return start


def test_a_slurm_job_starts_one_head_and_joins_the_other_nodes(bench, slurm):
    both_started = '[ "$(grep -c "^ray start" "$LOG")" = 2 ]'
    assert slurm(f"until {both_started}; do sleep 0.05; done\n").wait(60) == 0
    starts = [words for words in bench.calls("ray") if words[0] == "start"]
    size = ["--num-cpus", "32", "--num-gpus", "4", "--object-store-memory", "25769803776"]
    size += ["--disable-usage-stats", "--block"]
    head = ["start", "--head", "--node-ip-address", "node7", "--port", "20123", "--include-dashboard", "false", *size]
    assert sorted(starts, key=len) == [["start", "--address", "node7:20123", *size], head]
    [[script, *arguments]] = bench.calls("python")
    assert script == "jobs/run.py"
    options = build_parser().parse_args(arguments)
    assert (options.manifest, options.output, options.method) == (["s3://b/m.parquet"], "s3://b/out", "adapttoken-lite")
    assert options.num_scorers == 8
    assert options.sets == ["execution.gpus_per_scorer=1", "execution.num_decoders=32"]
    assert [words[0] for words in bench.calls("scontrol")] == ["show"]


def test_a_slurm_job_ends_with_the_drivers_exit_code(bench, slurm):
    assert slurm("exit 3\n").wait(60) == 3
    assert [words[0] for words in bench.calls("scontrol")] == ["show"]


def test_a_slurm_job_whose_time_is_nearly_up_lets_the_driver_end_and_goes_back_to_the_queue(bench, slurm):
    process = slurm(STAY)
    bench.wait_for("python", "jobs/run.py")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert bench.calls("scontrol")[-1] == ["requeue", "123"]


def test_a_slurm_job_whose_ray_does_not_start_fails(bench, slurm):
    bench.stand_in("ray", '[ "$1" = start ] && exit 1\n' + "exit 1\n")
    bench.stand_in("srun", "exit 1\n")
    assert slurm("exit 0\n").wait(60) == 1
    assert bench.calls("python") == []


def ray_stand_in(*, is_known, code=0):
    """A ``ray`` whose job of that name is known or not, and ends with ``code``."""
    return f"""case "$1 $2" in
        "job status") exit {0 if is_known else 1} ;;
        "job submit") {STAY if code is None else f"exit {code}"} ;;
    esac
    """


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_is_submitted_with_the_code_beside_the_script_and_its_exit_code_counts(bench, code):
    bench.stand_in("ray", ray_stand_in(is_known=False, code=code))
    assert bench.start("submit.sh", "night-1", "python", "jobs/run.py", "--output=a b").wait(60) == code
    known, sent = bench.calls("ray")
    assert known == ["job", "status", "night-1"]
    submit = ["job", "submit", "--submission-id", "night-1", "--working-dir", str(FOLDER.parent), "--runtime-env-json"]
    assert sent[: len(submit)] == submit
    assert sent[len(submit) + 1 :] == ["--", "python", "jobs/run.py", "--output=a b"]
    said = json.loads(sent[len(submit)])["env_vars"]["ADAPTTOKEN_GIT_COMMIT"]
    commit = find_commit(commit_file=FOLDER / "none.txt")
    assert said.split() == [commit["git_commit"], "changed"][: 1 + commit["git_is_changed"]]


def test_a_job_that_an_earlier_submitter_left_is_ended_first(bench):
    bench.stand_in("ray", ray_stand_in(is_known=True))
    assert bench.start("submit.sh", "night-1", "python").wait(60) == 0
    assert [words[1] for words in bench.calls("ray")] == ["status", "stop", "delete", "submit"]


def test_a_submitter_that_is_told_to_end_ends_its_job(bench):
    bench.stand_in("ray", ray_stand_in(is_known=False, code=None))
    process = bench.start("submit.sh", "night-1", "python")
    deadline = time.monotonic() + 60
    while len(bench.calls("ray")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert bench.calls("ray")[-1] == ["job", "stop", "night-1"]
