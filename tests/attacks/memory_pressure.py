"""Attack: the machine runs out of memory, so Ray's memory monitor ends workers; or out of object store and disk.

    python tests/attacks/memory_pressure.py

Real ones: Ray's threshold is set a little above what the machine uses, and a process takes that much for some seconds;
the object store is as small as the job allows, or too small for Ray to spill to a disk that it takes for full. A case
holds where the command, typed once, exits 0, and every reader sees each question once. Before, one scorer that Ray's
monitor killed ended the job ("the coordinator came upon a bug", exit code 1, 2 of 12 rows).
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from tests.attacks.jobs_under_attack import Place, all_answered, expect, ray_processes, run_cases  # noqa: E402

ROOM_BYTES = 6 * 1024**3
_HOG = """
import sys, time
from pathlib import Path

held, end_s = [], time.monotonic() + 20
while time.monotonic() < end_s:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    if total - available < int(sys.argv[1]):
        held.append(b"x" * 2**28)
    else:
        time.sleep(0.05)
"""
_LONG = ("--max-frames", "600", "--frames-per-group", "8", "--progress-every", "0")  # outlives the neighbour's start
_STORE_BYTES = (128 + 256) * 1024**2  # what a job gives its own Ray at the least
_WIDE = ("--max-frames", "2400", "--frames-per-group", "64", "--progress-every", "0", "--progress-interval-s", "0.5")
_WIDE += ("--set", "execution.num_scorers=1", "--set", "execution.num_decoders=2")
_WIDE += ("--set", "execution.videos_in_flight=30", "--set", f"execution.frame_memory_bytes={128 * 1024**2}")


def _memory() -> tuple[int, int]:
    """Bytes of the machine, and those in use, as Ray reckons."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, total - available


def monitor_ends_workers(folder: Path) -> list[str]:
    """A neighbour keeps the machine 1 GiB above the threshold for 20 s, whatever others do meanwhile."""
    place, hogs = Place(folder), list[subprocess.Popen[bytes]]()
    num = place.ask(place.add_videos(6))
    total, used = _memory()
    threshold = (used + ROOM_BYTES) / total
    if threshold > 0.95:
        return ["this machine has too little memory to try it"]
    environment = {"RAY_memory_usage_threshold": f"{threshold:.4f}", "RAY_memory_monitor_refresh_ms": "100"}

    def take_memory(driver: int) -> bool:
        if place.num_files() == 0 or not ray_processes("Scorer", driver):
            return False
        hogs.append(subprocess.Popen([sys.executable, "-c", _HOG, str(int(threshold * total) + 1024**3)]))
        return True

    ended = place.run(during=take_memory, options=_LONG, environment=environment)
    for hog in hogs:
        hog.wait()
    found = expect(ended, 0) or all_answered(place, num)
    return found if "takes its place" in ended.log or "died" in ended.log else [*found, "nobody was ended"]


class _RunningAhead:
    """The scorer stands still for 15 s of every 16, so that decoders fill the store; what goes to the disk is counted.

    That ends 20 s after more was decoded than the store holds, or after three minutes.
    """

    def __init__(self, place: Place) -> None:
        self._place, self._victim, self._began_s, self._ends_s = place, 0, 0.0, 0.0
        self.most_bytes, self.spilled = 0, set[str]()

    def __call__(self, driver: int) -> bool:
        """For ``Place.run(during=…)``."""
        self._count(driver)
        now_s = time.monotonic()
        if not self._victim:
            if self._place.num_files() > 0 and (victims := ray_processes("Scorer", driver)):
                self._victim, self._began_s, self._ends_s = victims[0], now_s, now_s + 180
            return False
        if self.most_bytes > _STORE_BYTES * 1.1:
            self._ends_s = min(self._ends_s, now_s + 20)
        stands_still = (now_s - self._began_s) % 16 < 15 and now_s < self._ends_s
        with suppress(ProcessLookupError):  # given up meanwhile: its successor is slow enough by its start
            os.kill(self._victim, signal.SIGSTOP if stands_still else signal.SIGCONT)
        return now_s >= self._ends_s

    def _count(self, driver: int) -> None:
        for raylet in ray_processes("raylet", driver):
            words = Path(f"/proc/{raylet}/cmdline").read_bytes().decode().split("\0")
            for session in (word.partition("=")[2] for word in words if word.startswith("--session_dir=")):
                self.spilled |= {path.name for path in Path(session).glob("ray_spilled_objects*/*")}
        for path in self._place.output.glob("runs/*/progress.json"):
            self.most_bytes = max(self.most_bytes, json.loads(path.read_text())["frame_bytes"])


def _store_full(folder: Path, environment: dict[str, str]) -> tuple[list[str], _RunningAhead]:
    """Thirty videos of 21 MB of frames each."""
    place = Place(folder, num_frames=2400)
    num, ahead = place.ask(place.add_videos(30), questions=1), _RunningAhead(place)
    found = expect(place.run(options=_WIDE, environment=environment, during=ahead), 0) or all_answered(place, num)
    found += [] if ahead.most_bytes > _STORE_BYTES else [f"only {ahead.most_bytes} bytes of frames: it was never full"]
    return found, ahead


def object_store_full(folder: Path) -> list[str]:
    """What exceeds the store waits on the disk."""
    found, ahead = _store_full(folder, {})
    print(f"{ahead.most_bytes} bytes of frames in {_STORE_BYTES}, {len(ahead.spilled)} files on the disk", flush=True)
    return found if ahead.spilled else [*found, "nothing was spilled"]


def object_store_and_disk_full(folder: Path) -> list[str]:
    """Likewise, and Ray takes the disk for full: who makes frames waits for who reads them."""
    found, ahead = _store_full(folder, {"RAY_local_fs_capacity_threshold": "0.01"})
    print(f"{ahead.most_bytes} bytes of frames in {_STORE_BYTES}, {len(ahead.spilled)} files on the disk", flush=True)
    return found


CASES = {
    case.__name__.replace("_", "-"): case
    for case in (monitor_ends_workers, object_store_full, object_store_and_disk_full)
}

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__))
