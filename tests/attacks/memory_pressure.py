"""Attack: the machine runs out of memory, so Ray's memory monitor ends workers; or out of object store and disk.

    python tests/attacks/memory_pressure.py

Real ones: Ray's threshold is set a little above what the machine uses, and a process takes that much for some seconds;
the object store is as small as the job allows, or too small for Ray to spill to a disk that it takes for full. A case
holds where the command, typed once, exits 0, and every reader sees each question once. Before, one scorer that Ray's
monitor killed ended the job ("the coordinator came upon a bug", exit code 1, 2 of 12 rows).
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from tests.attacks.jobs_under_attack import Place, all_answered, expect, ray_processes, run_cases  # noqa: E402

ROOM_BYTES = 4 * 1024**3
_HOG = "import sys, time; held = bytearray(int(sys.argv[1])); held[::4096] = b'x' * len(held[::4096]); time.sleep(15)"
_LONG = ("--max-frames", "600", "--frames-per-group", "8", "--progress-every", "0")  # outlives the neighbour's start
_WIDE = ("--max-frames", "600", "--frames-per-group", "32", "--progress-every", "0")
_WIDE += ("--set", "execution.videos_in_flight=8", "--set", f"execution.frame_memory_bytes={128 * 1024**2}")


def _memory() -> tuple[int, int]:
    """Bytes of the machine, and those in use, as Ray reckons."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, total - available


def monitor_ends_workers(folder: Path) -> list[str]:
    """A neighbour takes 5 GiB for 15 s where 4 are left below the threshold."""
    place, hogs = Place(folder), list[subprocess.Popen[bytes]]()
    num = place.ask(place.add_videos(6))
    total, used = _memory()
    threshold = (used + ROOM_BYTES) / total
    if threshold > 0.95:
        return ["this machine has too little memory to try it"]
    environment = {"RAY_memory_usage_threshold": f"{threshold:.4f}", "RAY_memory_monitor_refresh_ms": "100"}

    def take_memory(driver: int) -> bool:
        if place.num_files() == 0 or not ray_processes("Scorer.run", driver):
            return False
        total, used = _memory()
        wanted = int(threshold * total) - used + 1024**3
        hogs.append(subprocess.Popen([sys.executable, "-c", _HOG, str(max(1, wanted))]))
        return True

    ended = place.run(during=take_memory, options=_LONG, environment=environment)
    for hog in hogs:
        hog.wait()
    found = expect(ended, 0) + all_answered(place, num)
    return found if "takes its place" in ended.log or "died" in ended.log else [*found, "nobody was ended"]


def object_store_full(folder: Path) -> list[str]:
    """Eight videos in flight, 600 frames each, in 128 MiB: what exceeds it waits on the disk."""
    place = Place(folder)
    num = place.ask(place.add_videos(8), questions=1)
    return expect(place.run(options=_WIDE), 0) + all_answered(place, num)


def object_store_and_disk_full(folder: Path) -> list[str]:
    """Likewise, and Ray may not use the disk."""
    place = Place(folder)
    num = place.ask(place.add_videos(8), questions=1)
    began_s = time.monotonic()
    ended = place.run(options=_WIDE, environment={"RAY_local_fs_capacity_threshold": "0.01"})
    found = expect(ended, 0) + all_answered(place, num)
    return found + [f"took {time.monotonic() - began_s:.0f} s"] * bool(found)


CASES = {
    case.__name__.replace("_", "-"): case
    for case in (monitor_ends_workers, object_store_full, object_store_and_disk_full)
}

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__))
