"""What the sandbox costs: the same videos read with and without it in turns, in milliseconds per video."""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.lab.benchmarks.fuzzing import NUM_SAMPLED, SIZE, write_sources
from pipeline.results.fitted_rows import fit_rows
from pipeline.settings.sources import ReadingConfig
from pipeline.video.isolated import IsolatedReader

Mode = Literal["off", "require"]
_MODES: tuple[Mode, ...] = ("off", "require")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one mode; milliseconds: of the start of a process, and for each video of probe and 24 frames."""

    start_ms: float
    video_ms: Mapping[str, float]
    cpu_ms: Mapping[str, float]


def main(arguments: list[str] | None = None) -> int:
    """Print a table; exits 1 where one pixel differs."""
    parser = argparse.ArgumentParser(prog="bench_sandbox.py", description=__doc__)
    parser.add_argument("videos", nargs="*", help="files; default: small ones of seven containers, made here")
    parser.add_argument("--repeats", type=int, default=5, help="processes of each kind (default: 5)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        paths = options.videos or [str(Path(folder) / name) for name in write_sources(Path(folder))]
        rounds, pixels = measure(paths, repeats=options.repeats)
    print(_format(paths, {mode: _best(costs) for mode, costs in rounds.items()}))
    is_equal = all(np.array_equal(pixels["off", path], pixels["require", path]) for path in paths)
    print("pixels are equal" if is_equal else "PIXELS DIFFER")
    return 0 if is_equal else 1


def measure(paths: Sequence[str], *, repeats: int) -> tuple[dict[Mode, list[Cost]], dict[tuple[Mode, str], np.ndarray]]:
    """(costs by mode, pixels by mode and path); the modes take turns, so that a busy machine is busy for both."""
    rounds: dict[Mode, list[Cost]] = {mode: [] for mode in _MODES}
    pixels: dict[tuple[Mode, str], np.ndarray] = {}
    for _ in range(repeats):
        for mode in _MODES:
            with closing(IsolatedReader(ReadingConfig(sandbox=mode), max_bad_frames_share=0.05)) as reader:
                started = time.perf_counter()
                pid = reader.start()
                start_ms = 1e3 * (time.perf_counter() - started)
                wall_ms, cpu_ms = {}, {}
                for path in paths:
                    started, cpu_before = time.perf_counter(), _cpu_ms(pid)
                    probe = reader.probe(path)
                    wanted = np.unique(np.linspace(0, probe.num_frames - 1, NUM_SAMPLED).astype(np.int64))
                    pixels[mode, path] = reader.decode(probe, wanted, size=SIZE).frames
                    wall_ms[path] = 1e3 * (time.perf_counter() - started)
                    cpu_ms[path] = _cpu_ms(pid) - cpu_before
                rounds[mode].append(Cost(start_ms, wall_ms, cpu_ms))
    return rounds, pixels


def _cpu_ms(pid: int) -> float:
    """That a process has used, by the scheduler's own count."""
    return float(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def _best(costs: Sequence[Cost]) -> Cost:
    """The least of each: what other work on the machine adds is not the sandbox's."""
    names = costs[0].video_ms.keys()
    return Cost(
        min(cost.start_ms for cost in costs),
        {name: min(cost.video_ms[name] for cost in costs) for name in names},
        {name: min(cost.cpu_ms[name] for cost in costs) for name in names},
    )


def _format(paths: Sequence[str], best: Mapping[Mode, Cost]) -> str:
    off, held = best["off"], best["require"]
    starts = off.start_ms, held.start_ms, held.start_ms - off.start_ms
    rows = [["start of a process", *(f"{value:.1f}" for value in starts), ""]]
    for path in paths:
        more, more_cpu = held.video_ms[path] - off.video_ms[path], held.cpu_ms[path] - off.cpu_ms[path]
        numbers = f"{off.video_ms[path]:.1f}", f"{held.video_ms[path]:.1f}", f"{more:.1f}", f"{more_cpu:.1f}"
        rows.append([Path(path).name, *numbers])
    extra = statistics.median(held.video_ms[path] - off.video_ms[path] for path in paths)
    header = ["", "off ms", "sandbox ms", "more ms", "CPU more ms"]
    table = "\n".join(fit_rows(rows, header=header, numbers=(1, 2, 3, 4)))
    return f"{table}\nmedian per video: {extra:.1f} ms more"


if __name__ == "__main__":
    sys.exit(main())
