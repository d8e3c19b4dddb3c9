"""Benchmarks: each prints a table against named baselines of the same run, and writes the figures as JSON."""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.lab.bench_films import add_film_arguments, run_films
from jobs.lab.bench_model import add_model_arguments, run_model
from pipeline.settings.config import ModelConfig
from pipeline.settings.presets import preset_for

if TYPE_CHECKING:
    from pipeline.lab.benchmarks.decode_speed import DecodeTimes


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    decode = commands.add_parser("decode", help="frames per second of the video front end")
    decode.add_argument("--videos", type=Path, default=Path("bench_videos"), help="folder of generated videos")
    decode.add_argument("--repeats", type=int, default=3)
    decode.add_argument("--cases", nargs="*", metavar="CASE", help="some of the cases by name")
    films = commands.add_parser(
        "films", help="core seconds per wanted frame of 720p, 1080p and 2160p, with and without a frame store"
    )
    add_film_arguments(films)
    memory = commands.add_parser("memory", help="peak memory of a job, all processes, by length of the video")
    memory.add_argument("--videos", type=Path, default=Path("bench_videos"), help="folder of generated videos")
    memory.add_argument("--frame-buffer-bytes", type=int, default=192 * 1024**2)
    model = commands.add_parser(
        "model", help="seconds by stage of a model shape, against its floor and a naive baseline"
    )
    add_model_arguments(model)
    for command in (decode, films, memory, model):
        command.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args(arguments)
    if options.command in ("films", "model"):
        return run_films(options) if options.command == "films" else run_model(options)
    figures = _run_decode(options) if options.command == "decode" else _run_memory(options)
    if options.output:
        options.output.write_text(json.dumps({"machine": platform.platform(), "cases": figures}, indent=2) + "\n")
    return 0


def _run_decode(options: argparse.Namespace) -> list[dict[str, object]]:
    return [_report_decode(times) for times in _measure_decode(options)]


def _run_memory(options: argparse.Namespace) -> list[dict[str, object]]:
    """The same question about a short and a long video, frames at full size, in a buffer smaller than the long one."""
    from pipeline.demo.archive import ArchiveSpec, write_archive
    from pipeline.demo.scenes import HEIGHT, WIDTH
    from pipeline.lab.benchmarks.memory import measure_peak

    figures: list[dict[str, object]] = []
    for num_frames in (1_000, 10_000):
        folder = options.videos / f"archive-{num_frames}"
        manifest = write_archive(folder, ArchiveSpec(num_frames=(num_frames,), questions_per_video=1, seed=4_711))
        command = [sys.executable, "jobs/run.py", "--manifest", str(manifest), "--model", "demo"]
        command += ["--executor", "ray", "--output", tempfile.mkdtemp(prefix="bench-"), "--set", "resize=model"]
        command += ["--set", f"frame_buffer_bytes={options.frame_buffer_bytes}"]
        peak = measure_peak(command)
        frames_bytes = num_frames * HEIGHT * WIDTH * 3
        print(
            f"{num_frames:>6,} frames ({frames_bytes / 1e6:,.0f} MB): peak {peak.peak_bytes / 1e6:,.0f} MB in "
            f"{peak.num_processes} processes, exit {peak.exit_code}, {peak.wall_s:.0f} s"
        )
        figures.append({"num_frames": num_frames, "frames_bytes": frames_bytes, **asdict(peak)})
    return figures


def _measure_decode(options: argparse.Namespace) -> "Iterator[DecodeTimes]":
    from pipeline.lab.benchmarks.decode_speed import CASES, measure_decode
    from pipeline.models.loading import describe_model

    layout = describe_model(ModelConfig(model="demo")).layout
    config = preset_for("demo", num_layers=layout.num_layers, is_demo=True)
    for case in CASES:
        if options.cases is None or case.name in options.cases:
            yield measure_decode(case, folder=options.videos, layout=layout, config=config, repeats=options.repeats)


def _report_decode(times: "DecodeTimes") -> dict[str, object]:
    """Print one file's table; returns it as plain values."""
    sequential = {name: value for name, value in times.seconds.items() if "sequential" in name}
    best = min(sequential.values())
    print(
        f"\n{times.case.name}: {times.num_wanted:,} wanted frames in {times.num_groups} groups, "
        f"{times.num_decoded / times.num_wanted:.2f} frames decoded per frame wanted"
    )
    print(f"  {'reader':<34}{'wanted frames/s':>16}{'x best sequential':>19}")
    for name, seconds in sorted(times.seconds.items(), key=lambda item: item[1]):
        print(f"  {name:<34}{times.num_wanted / seconds:>16,.0f}{best / seconds:>19.2f}")
    return {
        "case": times.case.name,
        "num_wanted": times.num_wanted,
        "num_decoded": times.num_decoded,
        "num_groups": times.num_groups,
        "seconds": dict(times.seconds),
    }


if __name__ == "__main__":
    sys.exit(main())
