"""Examines a checkpoint on this machine: does it load, does it answer as published, what does it cost?

    python jobs/doctor.py --model Qwen/Qwen2.5-VL-7B-Instruct --output card.md

The first thing to run with a new checkpoint or machine. Looks at devices, versions, decoders and attention kernels,
loads, compares a group pass and a final pass with stock transformers, times a group, compares memory with its plan, and
looks for needles in a few generated pictures, from which it proposes a reference layer and when to stop. One line per
check; the card is for the developers.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.version import project_version


def main(arguments: list[str] | None = None, *, prog: str = "doctor.py") -> int:
    """Examine once; returns the exit code."""
    options = _build_parser(prog).parse_args(arguments)
    from transformers.utils import logging

    from pipeline.doctor.card import to_card
    from pipeline.doctor.examine import examine

    logging.disable_progress_bar()
    try:
        found = examine(options.model, device=options.device, sets=options.sets)
        for check in found.checks:
            print(check.as_line())
        if options.output:
            card = to_card(found, written_at=datetime.now(UTC), version=project_version())
            options.output.write_text(card, encoding="utf-8")
            print(f"card    {options.output}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_OK if found.has_passed else EXIT_JOB


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = command_parser(prog, __doc__, exit_codes="0 all checks passed, 1 one failed, 2 usage")
    parser.add_argument("--model", required=True, help="a hub id, a folder or demo")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is any")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="where the card is written")
    parser.add_argument(
        "--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", help="any setting, as for run.py"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
