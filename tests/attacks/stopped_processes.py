"""Attack: a process of the job is stopped (SIGSTOP), as by a hung driver, a dead mount or a frozen machine.

    python tests/attacks/stopped_processes.py                    every role in turn, about ten minutes on 2 cores
    python tests/attacks/stopped_processes.py scorer raylet      some of them

Prints the longest time without progress after the signal, and how much of that a successor took to start. Exits 0 where
no stall, that start included, is longer than 60 s, and the rows are those of an undisturbed run. A job whose raylet or
head is stopped or killed has to end by itself, with what to type, unless it needed it no more; typed again it has to
finish. One whose head is stopped while its workers start needs it for certain. A driver that is stopped and goes on
(Ctrl-Z, then fg) may have given up nobody. Before, an idle scorer or decoder, an answerer, or a scorer with candidates
held the job up for ever, the coordinator for 307 s, the raylet for over 1,100 s and the head for 431 s.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from pipeline.demo.archive import ArchiveSpec, write_archive  # noqa: E402
from pipeline.lab.benchmarks.chaos import compare_rows  # noqa: E402
from pipeline.results.finished import read_answers  # noqa: E402
from tests.attacks.jobs_under_attack import ray_processes  # noqa: E402

MOST_STALL_S = 60.0
DRIVER = "driver"
_SETTINGS = ("execution.num_scorers=2", "execution.num_answerers=1", "execution.num_decoders=2")
_SETTINGS += ("execution.min_scorers=2",)  # else the second one waits for a CPU that two cores do not have
_SPEC = ArchiveSpec(num_frames=(600,) * 6, questions_per_video=2, seed=11, needle_frames=(4, 16))


class Attack(NamedTuple):
    """What is stopped or killed, and when.

    Attributes:
        victim: its title, or its program. Who is at work is ``Scorer.run`` until first asked for a sign of life.
        ends_job: the job may end without it.
        after: the signal is sent once so many groups have been scored; 0: as soon as a scorer loads.
        needs: whether the job cannot finish without it, so that it has to say what to type.
        resume_s: after so many seconds it goes on, and nobody may have been given up meanwhile.
    """

    victim: str
    number: signal.Signals = signal.SIGSTOP
    ends_job: bool = False
    after: int = 12
    needs: bool = False
    resume_s: float | None = None

    def is_due(self, num_groups: int, driver: int) -> bool:
        """Whether the signal is to be sent."""
        return num_groups >= self.after and (self.after > 0 or bool(ray_processes("Scorer.load", driver)))


ATTACKS = {
    "scorer": Attack("Scorer"),
    "decoder": Attack("Decoder"),
    "answerer": Attack("Answerer"),
    "coordinator": Attack("CoordinatorService"),
    "driver": Attack(DRIVER, resume_s=50.0),
    "raylet": Attack("raylet", ends_job=True),
    "head": Attack("gcs_server", ends_job=True),
    "head-at-start": Attack("gcs_server", ends_job=True, after=0, needs=True),
    "dead-raylet": Attack("raylet", signal.SIGKILL, ends_job=True),
    "dead-head": Attack("gcs_server", signal.SIGKILL, ends_job=True),
}


class Run(NamedTuple):
    """One call of the job.

    Attributes:
        stall_s: from the signal on, the longest time in which nothing was done; also to the end of the command.
        start_s: of that time, what the start of a successor took.
        code: exit code.
        log: what it printed.
        was_sent: whether there was anybody to send the signal to.
    """

    stall_s: float
    start_s: float
    code: int
    log: str
    was_sent: bool


def run_job(folder: Path, manifest: Path, attack: Attack | None) -> Run:
    """The command in a process of its own; the signal is sent once. What it printed is in ``<folder>.log``, too."""
    command = [sys.executable, str(ROOT / "jobs" / "run.py"), "--manifest", str(manifest), "--model", "demo"]
    command += ["--output", str(folder), "--progress-interval-s", "0.5", "--progress-every", "0"]
    for setting in _SETTINGS:
        command += ["--set", setting]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    victims, done, changed_s, stall_s = list[int](), (0, 0), 0.0, 0.0
    log = folder.with_suffix(".log")
    with log.open("w") as printed:
        process = subprocess.Popen(command, env=environment, stdout=printed, stderr=printed)
        while process.poll() is None:
            now = _done(folder)
            if attack is not None and not victims and attack.is_due(now[0], process.pid):
                victims = _attack(attack, process.pid)
                changed_s = time.monotonic()
            elif victims and now != done:
                stall_s, changed_s = max(stall_s, time.monotonic() - changed_s), time.monotonic()
            done = now
            time.sleep(0.1)
    stall_s = max(stall_s, time.monotonic() - changed_s) if victims else 0.0
    for victim in victims:  # what nobody could end
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL if victim != process.pid else 0)
    text = log.read_text()
    return Run(stall_s, min(stall_s, _start_s(text)), process.returncode, text, bool(victims))


def _attack(attack: Attack, driver: int) -> list[int]:
    """Send the signal; returns who got it. Who is to go on does so before this returns."""
    victims = [driver] if attack.victim == DRIVER else ray_processes(attack.victim, driver)[:1]
    for victim in victims:
        os.kill(victim, attack.number)
        if attack.resume_s is not None:
            time.sleep(attack.resume_s)
            os.kill(victim, signal.SIGCONT)
    return victims


def _start_s(log: str) -> float:
    """Seconds from when the first successor was named to when it was ready; 0 where there was none."""
    named = re.search(r"^(\S+) WARNING .* died .*; (\S+) takes its place", log, re.MULTILINE)
    ready = named and re.search(rf"^(\S+) INFO {re.escape(named[2])} is ready", log, re.MULTILINE)
    if not named or not ready:
        return 0.0
    times = [datetime.strptime(one, "%H:%M:%S") for one in (named[1], ready[1])]
    return (times[1] - times[0]).total_seconds() % 86_400


def _done(folder: Path) -> tuple[int, int]:
    """Groups scored and questions done, as the run says."""
    runs = sorted(folder.glob("runs/*/progress.json"), key=lambda path: path.stat().st_mtime)
    try:
        progress = json.loads(runs[-1].read_text()) if runs else {}
    except (OSError, ValueError):
        progress = {}
    return int(progress.get("num_groups_scored", 0)), int(progress.get("num_questions_done", 0))


def judge(name: str, attack: Attack, folder: Path, manifest: Path, rows: list[dict[str, Any]]) -> bool:
    """One attack; prints its line."""
    run = first = run_job(folder, manifest, attack)
    findings = []
    if not run.was_sent:
        findings.append("was never sent")
    if run.stall_s > MOST_STALL_S:
        findings.append(f"held up for more than {MOST_STALL_S:g} s")
    if attack.resume_s is not None and (given_up := re.findall(r"WARNING (.* died .*)", run.log)):
        findings.append(f"after it went on: {given_up[0]}")
    if attack.ends_job and (run.code or attack.needs):  # what was already with the workers may have sufficed
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
        f"{name:13} {attack.number.name:8} stall {first.stall_s:6.1f} s, of which a start {first.start_s:3.0f} s   "
        f"exit code {first.code}, rows {found['num_rows']:3}   {verdict}",
        flush=True,
    )
    if findings:
        print(
            "\n".join(f"    | {line}" for line in [*first.log.splitlines()[-12:], *run.log.splitlines()[-6:]]),
            flush=True,
        )
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
        began_s = time.monotonic()
        run_job(Path(place) / "undisturbed", manifest, None)
        rows = read_answers(f"{place}/undisturbed").to_pylist()
        print(f"undisturbed: {time.monotonic() - began_s:.1f} s, {len(rows)} rows", flush=True)
        held = [judge(name, ATTACKS[name], Path(place) / name, manifest, rows) for name in names]
    print(f"{held.count(False)} of {len(held)} cases fell", flush=True)
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
