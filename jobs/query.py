"""Asks the results in SQL: DuckDB with the views answers, groups, evidence, failures and runs over an output folder.

Ten worked queries are in docs/queries.md, the columns in docs/columns.md. Without SQL: an interactive prompt.
"""

import argparse
import io
import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.storage_options import add_storage_options
from jobs.wiring.terminal import measure_width
from pipeline.failures import with_store_errors
from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.results.prompt import enable_line_editing, run_prompt
from pipeline.results.query_output import write_result
from pipeline.results.views import open_database
from pipeline.uris import redact_text

if TYPE_CHECKING:
    import duckdb


def main(arguments: list[str] | None = None, *, prog: str = "query.py") -> int:
    """Answer one query, or prompt for more; returns the exit code."""
    parser = _build_parser(prog)
    options = parser.parse_intermixed_args(arguments)
    if options.sql is None and not sys.stdin.isatty():
        options.sql = sys.stdin.read()
    if options.format == "parquet" and not options.to and (options.sql is None or sys.stdout.isatty()):
        parser.error("--format parquet is no text: give a query and --to FILE, or send the output to a file")
    try:
        import duckdb
    except ImportError:
        return _complain(ImportError("DuckDB is not installed: pip install duckdb pytz"), EXIT_USAGE)
    try:
        with closing(open_database(options.output, storage_options=options.storage_options)) as connection:
            if options.sql is None:
                enable_line_editing(connection)
                run_prompt(connection, sys.stdout.buffer, form=options.format, measure_width=measure_width)
            else:
                _answer(connection, options)
    except duckdb.IOException as error:  # a file that was merged away while it was read: ask again
        return _complain(error, EXIT_JOB)
    except (duckdb.Error, ValueError) as error:
        return _complain(error, EXIT_USAGE)
    except BrokenPipeError:  # such as `| head`: nobody wants the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except with_store_errors(OSError) as error:
        return _complain(error, EXIT_JOB)
    return EXIT_OK


def _answer(connection: "duckdb.DuckDBPyConnection", options: argparse.Namespace) -> None:
    """One query; a file is there in whole or not at all."""
    found = io.BytesIO()
    width = None if options.to else measure_width()
    write_result(connection, options.sql, found, form=options.format, width=width)
    if options.to:
        write_bytes_atomic(options.to, found.getvalue(), storage_options=options.storage_options)
    else:
        sys.stdout.buffer.write(found.getvalue())
        sys.stdout.buffer.flush()


def _complain(error: BaseException, code: int) -> int:
    print(f"error: {redact_text(str(error))}", file=sys.stderr)
    return code


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = command_parser(prog, __doc__, exit_codes="0 done, 2 usage, no results or wrong SQL, 1 the storage failed")
    parser.add_argument("output", help="the --output of run.py: a folder or s3://…")
    parser.add_argument("sql", nargs="?", help="one or more statements; the last one's rows are shown")
    parser.add_argument("--format", choices=("table", "csv", "json", "parquet"), default="table", help="default: table")
    parser.add_argument("--to", metavar="FILE", help="write there instead of to the standard output")
    add_storage_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
