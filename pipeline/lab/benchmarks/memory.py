"""Peak memory of a job with all its processes, as proportional set size: a page of n processes counts 1/n in each."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPeak:
    """``peak_bytes`` over the whole run; ``num_processes`` at that moment."""

    peak_bytes: int
    num_processes: int
    exit_code: int
    wall_s: float


def measure_peak(command: Sequence[str]) -> MemoryPeak:
    """Run a command and watch it and everything it has started. Linux only."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak_bytes, num_processes = 0, 0
    while process.poll() is None:
        family = _family(process.pid)
        total = sum(proportional_bytes(pid) for pid in family)
        if total > peak_bytes:
            peak_bytes, num_processes = total, len(family)
        time.sleep(_TICK_S)
    return MemoryPeak(
        peak_bytes=peak_bytes,
        num_processes=num_processes,
        exit_code=process.returncode,
        wall_s=time.monotonic() - started,
    )


def _family(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(_parent_of(entry), []).append(int(entry.name))
    family = [root]
    for pid in family:
        family += children.get(pid, [])
    return family


def _parent_of(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it has ended meanwhile
        return -1


def proportional_bytes(pid: int) -> int:
    """Memory of a process, shared pages divided by their users; 0 where there is no /proc."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
