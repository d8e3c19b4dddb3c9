"""Kills and stops processes of a job of two shards, again and again, and compares its rows with an undisturbed run.

A Ray cluster of several nodes is started on this machine; the job is ``run.py`` in a process of its own. Runs go on
until there are enough kills of every kind; started again, the command goes on where it was. The exit code is 1 when
a row was lost, doubled or changed.
"""

import argparse
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.lab.benchmarks.chaos import (
    KINDS,
    STOPS,
    Kill,
    RunReport,
    compare_rows,
    count_kills,
    format_runs,
    from_record,
    plan_kills,
    to_record,
)

if TYPE_CHECKING:
    from cluster.local_nodes import LocalNodes

_ROOT = Path(__file__).resolve().parents[2]
_TITLES = {
    "decoder": "Decoder",
    "scorer": "Scorer",
    "answerer": "Answerer",
    "coordinator": "CoordinatorService",
}
# As ``ray job submit`` does it, but nothing is copied: nodes of one machine delete each other's copies as they die.
_JOB_CONFIG = {"runtime_env": {"env_vars": {"PYTHONPATH": str(_ROOT)}}}
_TICK_S = 0.1
_CPUS_PER_NODE = 8  # as Ray counts them: a node that is left alone can hold all workers
_NEEDLE_FRAMES = (4, 16)
# Attempts are the default: however often a video happens to be at hand, it is not blamed for kills it did not cause.
_SETTINGS = (
    "execution.num_scorers=2",
    "execution.num_decoders=2",
    "execution.num_answerers=1",
    "execution.num_coordinators=2",
    "execution.videos_in_flight=3",
    "sampling.frames_per_group=32",
)


class _Job:
    """The command with its output, started again whenever it was killed."""

    def __init__(self, folder: Path, manifest: Path, *extra: str, address: str | None = None) -> None:
        self.output, self.num_starts = folder / "out", 0
        self._log_path = folder / "driver.log"
        self._command = [sys.executable, str(_ROOT / "jobs" / "run.py"), "--manifest", str(manifest), "--model", "demo"]
        self._command += ["--output", str(self.output), "--progress-interval-s", "0.5", *extra]
        for setting in _SETTINGS:
            self._command += ["--set", setting]
        self._environment = os.environ | {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}
        if address is not None:
            self._environment["RAY_ADDRESS"] = address
            self._environment["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps(_JOB_CONFIG)
        folder.mkdir(parents=True)
        self.start()

    def start(self) -> None:
        """Begin, or go on."""
        self.num_starts, self._started_s = self.num_starts + 1, time.time()
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)

    def is_running(self) -> bool:
        """Whether the driver lives."""
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, which it cannot answer; nothing where it has ended."""
        self._process.kill()
        self._process.wait()

    def is_at_work(self) -> bool:
        """Whether scorers have asked for work since this start, by what it writes of its progress."""
        for record in self.output.glob("runs/*/progress.json"):
            if record.stat().st_mtime > self._started_s and json.loads(record.read_text())["num_scorers"]:
                return True
        return False

    def wait(self) -> int:
        """Its exit code."""
        return self._process.wait()

    def read_rows(self) -> list[dict[str, Any]]:
        """The rows of all files, whatever a view would choose."""
        files = sorted(self.output.glob("answers/**/part-*.parquet"))
        return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def main(arguments: list[str] | None = None) -> int:
    """Run until there are enough kills; returns the exit code."""
    options = _build_parser().parse_args(arguments)
    from cluster.local_nodes import local_nodes

    folder = Path(options.output).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    manifest = _make_archive(folder / "archive", options)
    undisturbed = _run_undisturbed(folder / "undisturbed", manifest)
    reports = _read_reports(folder)
    with local_nodes(num_nodes=options.nodes, cpus_per_node=_CPUS_PER_NODE) as nodes:
        while missing := +Counter(dict.fromkeys(KINDS, options.kills_per_kind)) - count_kills(reports):
            seed = options.seed + len(reports)
            kills = islice(plan_kills(seed, missing=missing), options.kills_per_run)
            report = _run_disturbed(folder, manifest, undisturbed, nodes, kills, seed=seed)
            reports.append(report)
            with (folder / "chaos.jsonl").open("a") as log:
                print(json.dumps(to_record(report)), file=log, flush=True)
            (folder / "chaos.md").write_text(format_runs(reports, num_questions=len(undisturbed)))
            print(json.dumps(to_record(report)), flush=True)
    print((folder / "chaos.md").read_text())
    return 0 if all(report.is_clean for report in reports) else 1


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chaos.py", description=__doc__)
    parser.add_argument("--output", required=True, help="folder for archive, runs, chaos.jsonl, chaos.md")
    parser.add_argument("--kills-per-kind", type=int, default=7, help=f"of each of {', '.join(KINDS)}")
    parser.add_argument("--kills-per-run", type=int, default=8, help="at most")
    parser.add_argument("--videos", type=int, default=15)
    parser.add_argument("--questions", type=int, default=4, help="per video")
    parser.add_argument("--num-frames", type=int, default=1_200, help="sampled frames per video")
    parser.add_argument("--nodes", type=int, default=2, help="worker nodes")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _make_archive(folder: Path, options: argparse.Namespace) -> Path:
    manifest = folder / "manifest.parquet"
    if not manifest.exists():
        spec = ArchiveSpec(
            num_frames=(options.num_frames,) * options.videos,
            questions_per_video=options.questions,
            open_questions_per_video=1,
            needle_frames=_NEEDLE_FRAMES,
            seed=options.seed,
        )
        write_archive(folder, spec)
    return manifest


def _run_undisturbed(folder: Path, manifest: Path) -> list[dict[str, Any]]:
    """Rows by the serial executor: what every other run must give."""
    rows_path = folder / "rows.pickle"
    if not rows_path.exists():
        shutil.rmtree(folder, ignore_errors=True)
        job = _Job(folder, manifest, "--executor", "serial")
        if job.wait() != 0:
            raise RuntimeError(f"the undisturbed run failed; see {folder / 'driver.log'}")
        rows_path.write_bytes(pickle.dumps(job.read_rows()))
    rows: list[dict[str, Any]] = pickle.loads(rows_path.read_bytes())
    return rows


def _read_reports(folder: Path) -> list[RunReport]:
    log = folder / "chaos.jsonl"
    return [from_record(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def _run_disturbed(
    folder: Path,
    manifest: Path,
    undisturbed: list[dict[str, Any]],
    nodes: "LocalNodes",
    kills: Iterable[Kill],
    *,
    seed: int,
) -> RunReport:
    """1 job, kills until it ends or there are none left → how its rows compare."""
    run_folder = folder / f"run-{seed:03}"
    shutil.rmtree(run_folder, ignore_errors=True)
    started, rng, made = time.monotonic(), random.Random(seed), Counter[str]()
    job = _Job(run_folder, manifest, address=nodes.address)
    try:
        for kill in kills:
            if not _wait_for_work(job, nodes, kill.pause_s):
                break
            if _make_kill(kill, job, nodes, rng):
                made[kill.kind] += 1
                told = f"run {seed}: {time.monotonic() - started:.1f} s: {kill.kind}"
                print(told, file=sys.stderr, flush=True)
        exit_code = job.wait()
    finally:
        job.kill()
        nodes.end_stopped()
    return RunReport(
        seed=seed,
        kills=dict(made),
        num_drivers=job.num_starts,
        exit_code=exit_code,
        wall_s=time.monotonic() - started,
        **compare_rows(job.read_rows(), undisturbed),
    )


def _wait_for_work(job: _Job, nodes: "LocalNodes", pause_s: float) -> bool:
    """Until a scorer has been at work since before the pause; False when the job ends first."""
    while job.is_running():
        if job.is_at_work() and nodes.has_process(_TITLES["scorer"]):
            time.sleep(pause_s)
            return job.is_running()
        time.sleep(_TICK_S)
    return False


def _make_kill(kill: Kill, job: _Job, nodes: "LocalNodes", rng: random.Random) -> bool:
    """False when there was nothing of that kind to kill or stop at this moment."""
    if kill.kind == "driver":
        job.kill()
        job.start()
        return True
    if kill.kind == "node":
        nodes.kill_node(rng)
        nodes.add_node()
        return True
    if kill.kind in STOPS:
        return nodes.stop_process(_TITLES[STOPS[kill.kind]], rng)
    return nodes.kill_process(_TITLES[kill.kind], rng)


if __name__ == "__main__":
    sys.exit(main())
