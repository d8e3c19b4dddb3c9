"""Merges the small answer files of an output folder into larger ones, while runs write to it and queries read it.

A first call writes the merged files and keeps the small ones: each row is then in two files, and the view ``answers``
shows it once, as always. A call at least ``--grace-s`` later deletes the small ones. So run it regularly, as after each
nightly run. A query that started before a file was merged has the grace time to end; one that listed a file just before
it is deleted stops with the storage's "no such file" and must be repeated: it never shows a row twice or not at all.
Killing it, or running two at once, does no harm; see ``pipeline/results/compaction.py`` for why.
"""

import argparse
import sys

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.storage_options import parse_storage_options
from pipeline.failures import with_store_errors
from pipeline.results.compaction import DEFAULT_GRACE_S, DEFAULT_TARGET_BYTES, CompactionReport, compact
from pipeline.uris import redact_text

_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def main(arguments: list[str] | None = None, *, prog: str = "compact.py") -> int:
    """Compact once; returns the exit code."""
    options = _build_parser(prog).parse_args(arguments)
    try:
        report = compact(
            options.output,
            target_bytes=options.target_bytes,
            grace_s=options.grace_s,
            storage_options=options.storage_options,
            dry_run=options.dry_run,
        )
    except with_store_errors(ValueError, OSError) as error:
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ValueError) else EXIT_JOB
    print(describe(report, dry_run=options.dry_run))
    return EXIT_OK


def describe(report: CompactionReport, *, dry_run: bool) -> str:
    """One line for people."""
    return (
        f"{report.num_rows:,} rows in {report.num_files:,} files: "
        f"{'would delete' if dry_run else 'deleted'} {report.num_deleted:,} superseded files, "
        f"{'would merge' if dry_run else 'merged'} {report.num_merged:,} small files into {report.num_written:,}; "
        f"{report.num_waiting:,} superseded files wait for their grace time"
    )


def parse_bytes(text: str) -> int:
    """A number of bytes such as ``1000000``, ``512KiB`` or ``1.5GiB``."""
    unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
    try:
        return int(float(text.removesuffix(unit)) * _UNITS.get(unit, 1))
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is not a number of bytes: write e.g. 1000000, 512KiB, 128MiB or 1GiB"
        raise argparse.ArgumentTypeError(message) from error


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = command_parser(
        prog, __doc__, exit_codes="0 done, 2 usage or a result file that is not readable, 1 the storage failed"
    )
    parser.add_argument("output", help="the --output of run.py")
    parser.add_argument(
        "--target-bytes",
        type=parse_bytes,
        default=DEFAULT_TARGET_BYTES,
        help="size up to which files are merged into one; files of half of it stay (default: 32MiB; merging takes some "
        "20 times as much memory)",
    )
    parser.add_argument(
        "--grace-s",
        type=float,
        default=DEFAULT_GRACE_S,
        help="keep superseded files until the merged one is so old: longer than any query (default: 3600)",
    )
    parser.add_argument(
        "--storage-options",
        type=parse_storage_options,
        metavar="JSON",
        help="for the file system of OUTPUT, such as s3fs's; @FILE reads it from a file",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    return parser


if __name__ == "__main__":
    sys.exit(main())
