"""``bench.py films``: what 720p, 1080p and 2160p cost per wanted frame, and what a frame store makes of it."""

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.lab.benchmarks.film_decoding import FilmTimes

_SIZES = {
    "240p": (320, 240, 1_800),
    "720p": (1_280, 720, 1_800),
    "1080p": (1_920, 1_080, 1_800),
    "2160p": (3_840, 2_160, 240),
}
_LONG = "1080p-10min"
_MODEL_SIZE, _PATCH = (308, 560), 28


def add_film_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    names = [*_SIZES, _LONG]
    parser.add_argument("--videos", type=Path, default=Path("bench_videos"), help="folder of generated videos")
    parser.add_argument("--films", nargs="+", choices=names, default=["720p", "1080p"], help="default: 720p 1080p")
    parser.add_argument("--files", nargs="+", type=Path, default=[], help="videos of your own, instead")
    parser.add_argument("--k", nargs="+", type=int, default=[1, 15, 30], help="encoded frames per wanted frame")
    parser.add_argument("--wanted", type=int, default=60, help="frames, from the start on; 0: all (default: 60)")
    parser.add_argument("--size", nargs=2, type=int, default=_MODEL_SIZE, metavar=("H", "W"), help="default: 308 560")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only-own", action="store_true", help="without decord, PyAV and torchcodec")


def run_films(options: argparse.Namespace) -> int:
    """Make the films that are missing, measure, print one table."""
    from pipeline.lab.benchmarks.film_decoding import measure_film
    from pipeline.video.machine_speed import relative_decode_time

    factor, figures = relative_decode_time(), []
    print(f"decoding takes {factor:.2f} times what it took where the planner's costs were measured")
    for path in options.files or [_make_film(name, options.videos) for name in options.films]:
        for k in options.k:
            times = measure_film(
                path,
                encoded_per_wanted=k,
                max_wanted=options.wanted or None,
                size=_fit(path, tuple(options.size)),
                repeats=options.repeats,
                decode_factor=factor,
                with_others=not options.only_own,
            )
            _report(times)
            figures.append(asdict(times))
    if options.output:
        told = {"machine": platform.platform(), "decode_factor": factor, "films": figures}
        options.output.write_text(json.dumps(told, indent=2) + "\n")
    return 0


def _make_film(name: str, folder: Path) -> Path:
    from pipeline.lab.benchmarks.streams import repeat_film, write_film

    width, height, num_frames = _SIZES["1080p" if name == _LONG else name]
    path = folder / f"film-{width}x{height}-{num_frames}.mp4"
    path = write_film(path, width=width, height=height, num_frames=num_frames)
    return repeat_film(path, path.with_name(f"{path.stem}-x10.mp4"), times=10) if name == _LONG else path


def _fit(path: Path, size: tuple[int, int]) -> tuple[int, int]:
    """As models have it: a smaller video keeps its own size, in whole patches."""
    from pipeline.video.probe import probe_video

    probe = probe_video(str(path))
    if probe.width * probe.height >= size[0] * size[1]:
        return size
    return round(probe.height / _PATCH) * _PATCH, round(probe.width / _PATCH) * _PATCH


def _report(times: "FilmTimes") -> None:
    front_s = times.core_s["front end"]
    print(
        f"\n{times.name}, k = {times.encoded_per_wanted}: {times.num_wanted:,} wanted, {times.num_decoded:,} decoded, "
        f"handed on at {times.size[0]} x {times.size[1]}; planner / measured {times.predicted_s / front_s:.2f}; "
        f"{times.num_differing} stored frames differ"
    )
    print(f"  {'reader':<40}{'core-ms per wanted':>20}{'/ front end':>14}{'bytes per frame':>18}")
    for name, spent_s in sorted(times.core_s.items(), key=lambda item: -item[1]):
        quality = next((one for one in times.stored_bytes if f"from a {one}" in name), None)
        size = f"{times.stored_bytes[quality] / times.num_wanted:,.0f}" if quality else ""
        print(f"  {name:<40}{1e3 * spent_s / times.num_wanted:>20,.2f}{spent_s / front_s:>14.3f}{size:>18}")
