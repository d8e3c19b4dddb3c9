"""Writes a synthetic long-video benchmark: real H.264 videos by seed, and the manifest that asks about them."""

import argparse
import sys
from pathlib import Path

from pipeline.lab.synthetic.benchmark import BenchmarkSpec, write_benchmark
from pipeline.lab.synthetic.questions import KINDS, MOST_QUESTIONS_PER_KIND
from pipeline.lab.synthetic.timeline import TimelineSpec


def main(arguments: list[str] | None = None) -> int:
    """Make the benchmark; running it again keeps finished videos of the same seed and durations."""
    options = _parse(arguments)
    try:
        spec = BenchmarkSpec(
            num_frames=options.num_frames,
            videos_per_length=options.videos_per_length,
            seed=options.seed,
            kinds=options.kinds,
            questions_per_kind=options.questions_per_kind,
            timeline=TimelineSpec(
                needle_frames=options.needle_frames,
                event_share=options.event_share,
                distractor_density=options.distractor_density,
            ),
        )
        manifest = write_benchmark(
            options.output,
            spec,
            on_video=lambda rows, path: print(f"{rows} questions, {path}", file=sys.stderr, flush=True),
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(manifest)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    default = TimelineSpec()
    parser = argparse.ArgumentParser(prog="make_synthetic_benchmark.py", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder that receives videos/ and manifest.parquet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--num-frames", type=_integers, default=(10_000,), help="sampled frames of a video, e.g. 500,1000,10000"
    )
    parser.add_argument("--videos-per-length", type=int, default=4)
    parser.add_argument("--kinds", type=_words, default=KINDS, help=f"some of {','.join(KINDS)} (default: all)")
    parser.add_argument("--questions-per-kind", type=int, default=MOST_QUESTIONS_PER_KIND, help="about one video")
    parser.add_argument(
        "--needle-frames",
        type=_integers,
        default=default.needle_frames,
        help="shortest and longest needle and distractor in sampled frames, e.g. 4,64; at most 1/16 of the video",
    )
    parser.add_argument(
        "--event-share",
        type=_numbers,
        default=default.event_share,
        help="shortest and longest event of last and count, as shares of the video "
        f"(default: {default.event_share[0]:.4g},{default.event_share[1]:.4g})",
    )
    parser.add_argument(
        "--distractor-density",
        type=float,
        default=default.distractor_density,
        help="share of the frames that show an object nobody asks about (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    sys.exit(main())
