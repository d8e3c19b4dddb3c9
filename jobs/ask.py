"""Asks one question about one video: prints the answer, how sure the model is, where the evidence lies, what it cost.

    python jobs/ask.py video.mp4 "How many riders are there?" --options 2 3 4 5 --model Qwen/Qwen2.5-VL-7B-Instruct

Without --options the question is open. The answer is kept in --output, and a page about it is written. All settings of
run.py can be given too, such as --method, --config and --set; --model must be. Asked again, nothing is computed again.
"""

import argparse
import hashlib
import io
import json
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from jobs.run import main as run
from jobs.wiring.cli import build_parser
from jobs.wiring.command_line import CommandParser, command_parser
from jobs.wiring.exit_codes import EXIT_FAILURES, EXIT_JOB, EXIT_OK
from jobs.wiring.storage_options import add_storage_options
from pipeline.failures import with_store_errors
from pipeline.uris import has_scheme, redact_text, strip_secrets

_DEFAULTS = {"--executor": "serial", "--log-level": "warning"}  # one video gains little from more processes
_USAGE = "%(prog)s VIDEO QUESTION [--options A B …] [--output FOLDER] --model MODEL [settings of run.py, e.g. --method]"


def main(arguments: list[str] | None = None, *, prog: str = "ask.py") -> int:
    """Ask; returns the exit code of ``run.py``."""
    parser = _build_parser(prog)
    options, settings = parser.parse_known_args(arguments)
    from pipeline.manifest.columns import FEWEST_OPTIONS
    from pipeline.report.answer_text import describe_answer
    from pipeline.report.totals import list_run_ids, read_run_files

    if options.options is not None and len(options.options) < FEWEST_OPTIONS:
        parser.error(f"--options needs at least {FEWEST_OPTIONS} answers to choose from, got {options.options}")
    if not options.question.strip():
        parser.error("the question is empty")
    question_id, storage = _question_id(options), options.storage_options
    try:
        before = list_run_ids(options.output, storage_options=storage)
        with tempfile.TemporaryDirectory() as folder:
            manifest = Path(folder) / "question.jsonl"
            manifest.write_text(json.dumps(_manifest_row(options, question_id)))
            code = _run(manifest, options, settings, parser)
        if code not in (EXIT_OK, EXIT_FAILURES):
            return code
        runs = sorted(list_run_ids(options.output, storage_options=storage) - before)
        config_hash = read_run_files(options.output, runs[-1:], storage_options=storage)[0]["config_hash"]
        row = _find_row(options, question_id, config_hash)
        print(describe_answer(row))
        if row["status"] == "ok" and not options.no_report:
            _write_report(options, question_id, config_hash)
    except with_store_errors(OSError, ValueError) as error:
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_JOB
    return code


def _run(manifest: Path, options: argparse.Namespace, settings: list[str], parser: CommandParser) -> int:
    """``run.py`` with one question; what it prints is about many."""
    command = ["--manifest", str(manifest), "--output", options.output, "--retry-failed", *settings]
    for name, value in _DEFAULTS.items():
        if not any(setting.partition("=")[0] == name for setting in settings):
            command += [name, value]
    if options.storage_options is not None:
        command += ["--storage-options", json.dumps(options.storage_options)]
    settings_parser = build_parser(parser.prog, _USAGE)
    settings_parser.elsewhere = parser.own_options()
    settings_parser.parse_args(command)  # a wrong setting is explained in terms of this command
    with redirect_stdout(io.StringIO()):
        return run(command)


def _manifest_row(options: argparse.Namespace, question_id: str) -> dict[str, object]:
    video = options.video if has_scheme(options.video) else str(Path(options.video).absolute())
    row = {"question_id": question_id, "video": video, "question": options.question}
    return row if options.options is None else row | {"options": options.options}


def _question_id(options: argparse.Namespace) -> str:
    content = json.dumps([options.video, options.question, options.options])
    return f"ask-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


def _find_row(options: argparse.Namespace, question_id: str, config_hash: str) -> dict[str, Any]:
    from pipeline.results.finished import read_answers

    rows = read_answers(options.output, storage_options=options.storage_options).to_pylist()
    own = [row for row in rows if (row["question_id"], row["config_hash"]) == (question_id, config_hash)]
    return max(own, key=lambda row: row["finished_at"])  # of a video that was changed in between


def _write_report(options: argparse.Namespace, question_id: str, config_hash: str) -> None:
    from pipeline.report.report import ReportOptions, make_report
    from pipeline.results.atomic_files import write_bytes_atomic

    target = options.html or f"{options.output.rstrip('/')}/report/{question_id}.html"
    wanted = ReportOptions(question_ids=[question_id], config_hash=config_hash)
    page = make_report(options.output, wanted, storage_options=options.storage_options)
    write_bytes_atomic(target, page, storage_options=options.storage_options)
    print(f"{'report':<12}{strip_secrets(target)}")


def _build_parser(prog: str) -> CommandParser:
    parser = command_parser(prog, __doc__, usage=_USAGE, exit_codes="those of run.py")
    parser.elsewhere = build_parser().own_options()
    parser.add_argument("video", help="a file, s3://… or, with --set reading.allow_http=true, http(s)://…")
    parser.add_argument("question", help="in quotes: one argument")
    parser.add_argument("--options", nargs="+", metavar="OPTION", help="at least two answers to choose from")
    parser.add_argument("--output", default="ask_output", help="folder of answers and pages (default: ask_output)")
    parser.add_argument("--html", metavar="FILE", help="the page (default: OUTPUT/report/QUESTION.html)")
    parser.add_argument("--no-report", action="store_true", help="write no page")
    add_storage_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
