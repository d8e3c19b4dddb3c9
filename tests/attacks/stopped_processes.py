"""Attack: a process of the job is stopped (SIGSTOP), as by a hung driver, a dead mount or a frozen machine.

    python tests/attacks/stopped_processes.py                    every role in turn, about ten minutes on 2 cores
    python tests/attacks/stopped_processes.py scorer raylet      some of them

Prints how long each stop held the job up, and exits 0 where every stall is at most 60 s and the rows are those of an
undisturbed run. A job whose raylet or head is stopped or killed has to end by itself, with what to type; typed again it
has to finish. Before, an idle scorer or decoder, an answerer, or a scorer with candidates held the job up for ever, the
coordinator for 307 s, the raylet for over 1,100 s and the head for 431 s.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from cluster.local_nodes import find_workers  # noqa: E402
from pipeline.demo.archive import ArchiveSpec, write_archive  # noqa: E402
from pipeline.lab.benchmarks.chaos import compare_rows  # noqa: E402
from pipeline.results.finished import read_answers  # noqa: E402

MOST_STALL_S = 60.0
_SETTINGS = ("execution.num_scorers=2", "execution.num_answerers=1", "execution.num_decoders=2")
_SPEC = ArchiveSpec(num_frames=(600,) * 6, questions_per_video=2, seed=11, needle_frames=(4, 16))


class Attack(NamedTuple):
    """What is stopped or killed, once so many groups have been scored; ``ends_job``: the job cannot go on without."""

    victim: str
    number: signal.Signals = signal.SIGSTOP
    ends_job: bool = False
    num_groups: int = 12


ATTACKS = {
    "scorer": Attack("Scorer.run"),
    "decoder": Attack("Decoder.run"),
    "answerer": Attack("Answerer.run"),
    "coordinator": Attack("CoordinatorService"),
    "raylet": Attack("raylet", ends_job=True),
    "head": Attack("gcs_server", ends_job=True),
    "dead-raylet": Attack("raylet", signal.SIGKILL, ends_job=True),
    "dead-head": Attack("gcs_server", signal.SIGKILL, ends_job=True),
}


class Run(NamedTuple):
    """One call of the job: seconds in all, and from the signal to its end; exit code, and what it printed."""

    wall_s: float
    after_s: float
    code: int
    log: str


def run_job(folder: Path, manifest: Path, attack: Attack | None) -> Run:
    """The command in a process of its own; the signal is sent once."""
    command = [sys.executable, str(ROOT / "jobs" / "run.py"), "--manifest", str(manifest), "--model", "demo"]
    command += ["--output", str(folder), "--progress-interval-s", "0.5", "--progress-every", "0"]
    for setting in _SETTINGS:
        command += ["--set", setting]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    began_s, sent_s, stopped = time.monotonic(), 0.0, list[int]()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            if attack is not None and not sent_s and _num_scored(folder) >= attack.num_groups:
                stopped = _find(attack.victim, process.pid)[:1]
                for victim in stopped:
                    os.kill(victim, attack.number)
                    sent_s = time.monotonic()
            time.sleep(0.1)
        ended_s = time.monotonic()
        for victim in stopped:  # what nobody could end
            _end(victim)
        log.seek(0)
        return Run(ended_s - began_s, ended_s - sent_s if sent_s else 0.0, process.returncode, log.read())


def _end(victim: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)


def _num_scored(folder: Path) -> int:
    runs = sorted(folder.glob("runs/*/progress.json"), key=lambda path: path.stat().st_mtime)
    try:
        return int(json.loads(runs[-1].read_text())["num_groups_scored"]) if runs else 0
    except (OSError, ValueError, KeyError):
        return 0


def _find(victim: str, driver: int) -> list[int]:
    """Process ids: of Ray's own processes by their program, of workers by their title."""
    own = {pid: program for pid, parent, program in _processes() if parent == driver}
    if victim in ("raylet", "gcs_server"):
        return [pid for pid, program in own.items() if program == victim]
    return sorted(find_workers(victim, raylets={pid for pid, program in own.items() if program == "raylet"}))


def _processes() -> Iterator[tuple[int, int, str]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
            program, _, fields = rest.rpartition(") ")
            yield int(pid), int(fields.split()[1]), program
        except (OSError, ValueError, IndexError):
            continue


def judge(
    name: str, attack: Attack, folder: Path, manifest: Path, undisturbed: Run, rows: list[dict[str, Any]]
) -> bool:
    """One attack; prints its line."""
    run = run_job(folder, manifest, attack)
    stall_s = run.after_s if attack.ends_job else max(0.0, run.wall_s - undisturbed.wall_s)
    findings = []
    if not run.after_s:
        findings.append("was never sent")
    if stall_s > MOST_STALL_S:
        findings.append(f"held up for more than {MOST_STALL_S:g} s")
    if attack.ends_job:
        if run.code != 1:
            findings.append(f"exit code {run.code} instead of 1")
        if "same command" not in run.log:
            findings.append("no word of what to type")
        run = run_job(folder, manifest, None)
    if run.code != 0:
        findings.append(f"exit code {run.code} at the end")
    found = compare_rows(read_answers(str(folder)).to_pylist(), rows)
    findings += [f"{len(found[what])} rows {what}" for what in ("lost", "doubled", "different") if found[what]]
    verdict = "holds" if not findings else "; ".join(findings)
    print(
        f"{name:12} {attack.number.name:8} stall {stall_s:6.1f} s   rows {found['num_rows']:3}   {verdict}", flush=True
    )
    if findings:
        print("\n".join(f"    | {line}" for line in run.log.splitlines()[-12:]), flush=True)
    return not findings


def main(arguments: list[str] | None = None) -> int:
    """Run the attacks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="ROLE", help=f"of {', '.join(ATTACKS)}; default: all")
    names = parser.parse_args(arguments).names or [*ATTACKS]
    if unknown := [name for name in names if name not in ATTACKS]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(ATTACKS)}")
    with tempfile.TemporaryDirectory() as place:
        manifest = write_archive(Path(place) / "archive", _SPEC)
        undisturbed = run_job(Path(place) / "undisturbed", manifest, None)
        rows = read_answers(f"{place}/undisturbed").to_pylist()
        print(f"undisturbed: {undisturbed.wall_s:.1f} s, {len(rows)} rows", flush=True)
        attack: Callable[[str], bool] = lambda name: judge(  # noqa: E731
            name, ATTACKS[name], Path(place) / name, manifest, undisturbed, rows
        )
        return 0 if all([attack(name) for name in names]) else 1


if __name__ == "__main__":
    sys.exit(main())
