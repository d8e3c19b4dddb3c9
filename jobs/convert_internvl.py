"""Converts an InternVL folder as its authors publish it (InternVL2.5, 3, 3.5) into one that this project reads.

    python jobs/convert_internvl.py InternVL2_5-8B InternVL2_5-8B-native

The originals bring code of their own, which is never run: names, layout, configuration, tokenizer and chat template are
translated. The output appears only when it is whole, takes as much disk as the original, and is then given as --model.
"""

import argparse
import sys
from pathlib import Path

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE


def main(arguments: list[str] | None = None, *, prog: str = "convert_internvl.py") -> int:
    """Convert once; returns the exit code."""
    options = _build_parser(prog).parse_args(arguments)
    if not options.folder.is_dir():
        print(f"error: {options.folder} is no folder on this machine; copy the checkpoint here first", file=sys.stderr)
        return EXIT_USAGE
    from pipeline.failures import PipelineError
    from pipeline.models.checkpoints.internvl_original.convert import convert_internvl

    try:
        done = convert_internvl(options.folder, options.output)
    except FileExistsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (PipelineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_JOB
    print(
        f"{options.output}: {done.num_tensors:,} tensors in {done.num_files} files, {done.num_bytes / 1e9:.2f} GB; "
        f"use it with --model {options.output}"
    )
    return EXIT_OK


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = command_parser(
        prog, __doc__, exit_codes="0 done, 2 usage, 1 the folder cannot be converted or the disk is full"
    )
    parser.add_argument("folder", type=Path, help="the original one, with *.safetensors")
    parser.add_argument("output", type=Path, help="a folder that does not exist yet")
    return parser


if __name__ == "__main__":
    sys.exit(main())
