"""Merges the small answer files of an output folder into larger ones, while runs write to it and queries read it.

What is merged leaves ``OUTPUT/answers`` at once, so that every Parquet reader sees each row once; it stays in
``OUTPUT/_superseded`` until a call at least ``--grace-s`` later deletes it. So run it regularly, as after each nightly
run. A query that listed a file just before it left stops with the storage's "no such file" and must be repeated; this
project's own readers do so themselves. Killing it, or running two at once, does no harm; see
``pipeline/results/compaction.py`` for why, and docs/operations.md for what a reader may see meanwhile.
"""

import argparse
import sys

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.storage_options import parse_storage_options
from pipeline.failures import with_store_errors
from pipeline.results.compaction import DEFAULT_GRACE_S, DEFAULT_TARGET_BYTES, CompactionReport, compact
from pipeline.results.delta import sync_delta, tidy_delta
from pipeline.uris import StorageOptions, redact_text

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
        if options.table == "delta" and not options.dry_run:
            _compact_table(options.output, options.storage_options)
    except with_store_errors(ValueError, OSError) as error:
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ValueError) else EXIT_JOB
    print(describe(report, dry_run=options.dry_run))
    return EXIT_OK


def _compact_table(output: str, storage_options: StorageOptions) -> None:
    synced = sync_delta(output, storage_options=storage_options)
    version = tidy_delta(output, storage_options=storage_options)
    changes = f"{synced.num_added:,} rows added, {synced.num_changed:,} changed, {synced.num_removed:,} removed"
    print(f"delta table at version {version}: {changes}")


def describe(report: CompactionReport, *, dry_run: bool) -> str:
    """One line for people."""
    would = "would be " if dry_run else ""
    return (
        f"{report.num_rows:,} rows in {report.num_files:,} files: {report.num_merged:,} small files {would}merged into "
        f"{report.num_written:,}, {report.num_retired:,} superseded files {would}put aside, "
        f"{report.num_pruned:,} files {would}rid of superseded rows, "
        f"{report.num_deleted:,} files {would}deleted that were put aside earlier; {report.num_waiting:,} wait for that"
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
        prog,
        __doc__,
        exit_codes="0 done, 2 usage, no such output or no result file that is readable, 1 the storage failed",
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
        help="delete what was put aside so many seconds ago (default: 3600)",
    )
    parser.add_argument(
        "--storage-options",
        type=parse_storage_options,
        metavar="JSON",
        help="for the file system of OUTPUT, such as s3fs's; @FILE reads it from a file",
    )
    parser.add_argument(
        "--table",
        choices=("parquet", "delta"),
        default="parquet",
        help="delta: bring OUTPUT/delta up to date, and tidy it",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    return parser


if __name__ == "__main__":
    sys.exit(main())
