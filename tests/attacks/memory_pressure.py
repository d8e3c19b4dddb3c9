"""Attack: the machine runs out of memory, so Ray's memory monitor ends workers; or out of object store and disk.

    python tests/attacks/memory_pressure.py

Real ones: Ray's threshold is set a little above what the machine uses, and a process takes that much for 45 s; the
object store is as small as the job allows and each video larger; the disk that Ray spills to is a small one of its own
(a mount, which takes root). A case holds where the command, typed once, exits 0 (where one group finds no room: first
1, then with room 0), and every reader sees each question once. Before, one scorer that Ray's monitor killed ended the
job ("the coordinator came upon a bug", exit code 1, 2 of 12 rows), and with store and disk full no group was scored
within 460 s.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from tests.attacks.jobs_under_attack import Ended, Place, all_answered, expect, ray_processes, run_cases  # noqa: E402

ROOM_BYTES = 6 * 1024**3
_HOG = """
import sys, time
from pathlib import Path

held, end_s = [], time.monotonic() + 45
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
_DISK_BYTES = 128 * 1024**2
_SIDES = (420, 560)
_FRAMES = 900
_VIDEO_BYTES = _FRAMES * _SIDES[0] * _SIDES[1] * 3
_WIDE: tuple[str, ...] = ("--max-frames", str(_FRAMES), "--frames-per-group", "12", "--progress-every", "0")
_WIDE += ("--progress-interval-s", "0.5", "--set", f"sampling.min_pixels={_SIDES[0] * _SIDES[1] - 784}")
_WIDE += ("--set", f"sampling.max_pixels={_SIDES[0] * _SIDES[1]}", "--set", "execution.videos_in_flight=2")
_WIDE += ("--set", "execution.num_scorers=1", "--set", "execution.num_decoders=2")
_WIDE += (
    "--set",
    f"execution.frame_memory_bytes={128 * 1024**2}",
    "--set",
    f"execution.frame_buffer_bytes={2 * 1024**3}",
)


def _memory() -> tuple[int, int]:
    """Bytes of the machine, and those in use, as Ray reckons."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, total - available


def monitor_ends_workers(folder: Path) -> list[str]:
    """A neighbour keeps the machine 1 GiB above the threshold for 45 s, whatever others do meanwhile."""
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
    num_ended = ended.log.count("short of memory") + ended.log.count("died (OutOfMemoryError)")
    print(f"Ray's monitor ended {num_ended} workers and coordinators", flush=True)
    return found if num_ended else [*found, "nobody was ended"]


class _RunningAhead:
    """The scorer stands still for 15 s of every 16, so that decoders fill the store, and Ray's figures are looked at.

    That ends 45 s after the first video's frames began to come: a video's groups are mixed, so that all of its frames
    lie there before the last one is scored, whoever waits.
    """

    def __init__(self, disk: Path | None) -> None:
        self._disk, self._began_s = disk, 0.0
        self._stopped: int | None = None
        self.most_held = self.most_spilled = self.num_requests = self.most_disk = 0

    def __call__(self, driver: int) -> bool:
        """For ``Place.run(during=…)``; never done, as figures are looked at until the end."""
        self._look(driver)
        now_s = time.monotonic()
        if not self._began_s and self.most_held > _STORE_BYTES // 8:
            self._began_s = now_s
        past_s = now_s - self._began_s
        is_to_stop = bool(self._began_s) and past_s < 45 and past_s % 16 < 15
        if is_to_stop and self._stopped is None:
            for victim in ray_processes("Scorer", driver)[:1]:
                self._signal(victim, signal.SIGSTOP)
                self._stopped = victim
        elif not is_to_stop and self._stopped is not None:
            self._signal(self._stopped, signal.SIGCONT)
            self._stopped = None
        return False

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it may have been replaced meanwhile
            os.kill(pid, number)

    def _look(self, driver: int) -> None:
        if self._disk is not None:
            self.most_disk = max(self.most_disk, shutil.disk_usage(self._disk).used)
        for session in _sessions(driver):
            with suppress(OSError):
                text = (session / "logs" / "debug_state.txt").read_text()
                held, spilled, requests = (_figure(text, name) for name in _FIGURES)
                self.most_held, self.most_spilled = max(self.most_held, held), max(self.most_spilled, spilled)
                self.num_requests = max(self.num_requests, requests)

    def __str__(self) -> str:
        used = f"; of its {_DISK_BYTES / 1e6:.0f} MB {self.most_disk / 1e6:.0f} were in use"
        return (
            f"Ray held at most {self.most_held / 1e6:.0f} MB in a store of {_STORE_BYTES / 1e6:.0f}, and "
            f"{self.most_spilled / 1e6:.0f} MB at a time on the disk, after {self.num_requests} requests to spill"
        ) + ("" if self._disk is None else used)


_RAYS_TRACEBACK = re.compile(r'Traceback \(most recent call last\):\n  File "[^"\n]*(_raylet|external_storage)\.py')
_FIGURES = ("pinned objects size", "num bytes currently spilled", "cumulative spill requests")


def _figure(text: str, name: str) -> int:
    """Of Ray's own statistics, which it writes as often as ``RAY_debug_dump_period_milliseconds`` says."""
    return int(text.partition(f"- {name}: ")[2].partition("\n")[0] or 0)


def _sessions(driver: int) -> list[Path]:
    """Where Ray of this driver writes its logs."""
    words = []
    for raylet in ray_processes("raylet", driver):
        with suppress(OSError):
            words += Path(f"/proc/{raylet}/cmdline").read_bytes().decode().split("\0")
    return [Path(word.partition("=")[2]) for word in words if word.startswith("--session_dir=")]


def _overfill(folder: Path, disk: Path | None = None) -> tuple[Place, int, Ended]:
    """Two videos, each of which has more frames than fit into the store."""
    place = Place(folder, num_frames=_FRAMES)
    num, ahead = place.ask(place.add_videos(2), questions=1), _RunningAhead(disk)
    own = {"RAY_debug_dump_period_milliseconds": "500"}
    own |= {} if disk is None else {"RAY_object_spilling_directory": str(disk)}
    ended = place.run(options=_WIDE, environment=own, during=ahead)
    print(f"{_VIDEO_BYTES / 1e6:.0f} MB of frames per video. {ahead}", flush=True)
    return place, num, ended._replace(has_happened=ahead.most_held + ahead.most_spilled > 0.8 * _STORE_BYTES)


def object_store_full(folder: Path) -> list[str]:
    """What exceeds the store waits on the disk."""
    place, num, ended = _overfill(folder)
    return expect(ended, 0) or all_answered(place, num)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own."""
    disk = folder / "disk"
    disk.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        sys.exit("a disk of its own cannot be mounted: that needs root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def _without_rays(ended: Ended) -> Ended:
    """Ray itself prints a traceback each time it cannot write."""
    return ended._replace(log=_RAYS_TRACEBACK.sub("(Ray's own)", ended.log))


def object_store_and_disk_full(folder: Path) -> list[str]:
    """Likewise, and the disk is a small one that is really full."""
    with _small_disk(folder) as disk:
        place, num, ended = _overfill(folder, disk)
    shrunk = [line for line in ended.log.splitlines() if "store and disk were full" in line]
    print(*shrunk, sep="\n", flush=True)
    found = expect(_without_rays(ended), 0) or all_answered(place, num)
    return found if shrunk else [*found, "the disk was never full"]


def no_room_for_one_group(folder: Path) -> list[str]:
    """The only group of a video takes more than store and disk have: exit code 1; with room, the same command: 0."""
    place, num_frames = Place(folder), 160
    path = place.videos / "large.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"preset": "ultrafast", "g": "10"})
        stream.width, stream.height = 1280, 720
        for number in range(num_frames):
            picture = av.VideoFrame.from_ndarray(np.full((720, 1280, 3), number, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    num = place.ask([str(path)], questions=1)
    options: tuple[str, ...] = ("--max-frames", str(num_frames), "--frames-per-group", str(num_frames))
    options += ("--progress-every", "0", "--set", "sampling.resize=model", "--set", "reading.outage_s=30")
    options += ("--set", "execution.num_scorers=1", "--set", "execution.num_decoders=2")
    options += ("--set", f"execution.frame_memory_bytes={128 * 1024**2}")
    with _small_disk(folder) as disk:
        full = place.run(options=options, environment={"RAY_object_spilling_directory": str(disk)})
    words = "one group's frames alone", "the same command goes on"
    found = expect(_without_rays(full), 1, *words, what="with the disk full")
    group_bytes = num_frames * 1280 * 720 * 3
    print(f"{group_bytes / 1e6:.0f} MB in one group: exit code {full.code}, {full.wall_s:.0f} s", flush=True)
    found += [f"{place.rest()} failures, {len(place.rows())} rows"] if place.rows() else []
    return found + (expect(place.run(options=options), 0, what="with room") or all_answered(place, num))


CASES = {
    case.__name__.replace("_", "-"): case
    for case in (monitor_ends_workers, object_store_full, object_store_and_disk_full, no_room_for_one_group)
}

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__))
