"""Writes a demo archive: real H.264 videos with short needles, and the manifest that asks about them."""

import sys
from pathlib import Path

from jobs.wiring.command_line import command_parser
from pipeline.demo.archive import ArchiveSpec, write_archive


def main(arguments: list[str] | None = None, *, prog: str = "make_demo_archive.py") -> int:
    """Make the archive; running it again keeps finished videos of the same options."""
    parser = command_parser(prog, __doc__, exit_codes="0 done, 2 usage")
    parser.add_argument("--output", type=Path, required=True, help="folder that receives videos/ and manifest.parquet")
    parser.add_argument("--num-videos", type=int, default=3)
    parser.add_argument("--num-frames", type=int, default=10_000, help="sampled frames per video (default: 10,000)")
    parser.add_argument("--questions-per-video", type=int, default=4)
    parser.add_argument("--open-questions-per-video", type=int, default=0, help="of these, asked without options")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoded-per-sample", type=int, default=1, help="encoded frames per sampled frame")
    options = parser.parse_args(arguments)
    try:
        spec = ArchiveSpec(
            num_frames=(options.num_frames,) * options.num_videos,
            questions_per_video=options.questions_per_video,
            open_questions_per_video=options.open_questions_per_video,
            seed=options.seed,
            encoded_frames_per_sample=options.encoded_per_sample,
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    manifest = write_archive(
        options.output,
        spec,
        on_video=lambda index, path: print(f"{index + 1}/{options.num_videos} {path}", file=sys.stderr),
    )
    print(manifest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
