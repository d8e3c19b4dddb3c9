"""Writes the benchmark of moments: scenes, signs and single objects in long videos of all shapes, and its manifest."""

import argparse
import sys
from pathlib import Path

from pipeline.lab.moments.benchmark import MomentBenchmarkSpec, write_moment_benchmark
from pipeline.lab.moments.questions import KINDS, MOST_QUESTIONS_PER_KIND


def main(arguments: list[str] | None = None) -> int:
    """Make the benchmark; running it again keeps finished videos of the same seed."""
    options = _parse(arguments)
    try:
        spec = MomentBenchmarkSpec(
            num_frames=options.num_frames,
            videos_per_length=options.videos_per_length,
            seed=options.seed,
            kinds=options.kinds,
            questions_per_kind=options.questions_per_kind,
            bars_share=options.bars_share,
            held_out_share=options.held_out_share,
        )
        manifest = write_moment_benchmark(
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
    parser = argparse.ArgumentParser(prog="make_moment_benchmark.py", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder that receives videos/ and manifest.parquet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--num-frames",
        type=lambda text: tuple(int(part) for part in text.split(",")),
        default=(10_000,),
        help="sampled frames of a video, e.g. 500,1000,10000",
    )
    parser.add_argument("--videos-per-length", type=int, default=4)
    parser.add_argument(
        "--kinds", type=lambda text: tuple(text.split(",")), default=KINDS, help=f"some of {','.join(KINDS)}"
    )
    parser.add_argument("--questions-per-kind", type=int, default=MOST_QUESTIONS_PER_KIND, help="about one video")
    parser.add_argument("--bars-share", type=float, default=0.3, help="of videos with black bars")
    parser.add_argument("--held-out-share", type=float, default=0.3, help="of videos in styles training never sees")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
