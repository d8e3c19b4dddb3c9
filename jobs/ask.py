"""Asks one question about one video: prints the answer, how sure the model is, where the evidence lies, what it cost.

    python jobs/ask.py video.mp4 "How many riders are there?" --options 2 3 4 5 --model Qwen/Qwen2.5-VL-7B-Instruct

Without --options the question is open. The answer is kept in --output, and a page about it is written. All settings of
run.py can be given too, such as --method, --config and --set; --model must be. Asked again, nothing is computed again.

Without a question it prompts for questions, or reads them from its input, a line each: "Which colour? | red | blue".
The video stays open, so that further questions cost scoring only; nothing of these is kept.
"""

import argparse
import hashlib
import io
import itertools
import json
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from jobs.run import main as run
from jobs.wiring.asked import absolute, seconds, transcript_cell
from jobs.wiring.chosen_settings import check_method, named_model
from jobs.wiring.cli import build_parser
from jobs.wiring.command_line import CommandParser, command_parser
from jobs.wiring.exit_codes import EXIT_FAILURES, EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.logs import LOG, configure_logging
from jobs.wiring.storage_options import add_storage_options, secret_values
from pipeline.failures import with_store_errors
from pipeline.manifest.time_range import time_range
from pipeline.uris import has_scheme, redact_text, strip_secrets

_DEFAULTS = {"--executor": "serial", "--log-level": "warning"}  # one video gains little from more processes
_USAGE = (
    "%(prog)s VIDEO [QUESTION] [--options A B …] --model MODEL [--output FOLDER] [settings of run.py, e.g. --method]"
)


def main(arguments: list[str] | None = None, *, prog: str = "ask.py") -> int:
    """Ask; returns the exit code of ``run.py``."""
    parser = _build_parser(prog)
    options, settings = parser.parse_known_args(arguments)
    _check_range(options, parser)
    if options.question is None:
        return _prompt(options, settings, parser)
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


def _check_range(options: argparse.Namespace, parser: CommandParser) -> None:
    try:
        time_range(options.start, options.end)
    except ValueError as error:
        parser.error(str(error).replace("start_s", "--start").replace("end_s", "--end"))


def _prompt(options: argparse.Namespace, settings: list[str], parser: CommandParser) -> int:
    """Questions of a terminal, or of another program; what needs none is checked before anything is loaded."""
    for name in ("options", "html"):
        if getattr(options, name) is not None:
            parser.error(f"--{name} goes with a question; at the prompt write: Which colour? | red | blue")
    first = None if sys.stdin.isatty() else sys.stdin.readline()
    if first == "":
        parser.error("no question: give one behind the video, in quotes, or a line each on the standard input")
    run_options = _settings_parser(parser).parse_args(_command("unused.jsonl", options, settings))
    code = _check_at_a_glance(options, run_options)
    if code != EXIT_OK:
        return code
    from jobs.wiring.ask_prompt import prompt_for_questions

    lines = None if first is None else itertools.chain([first], sys.stdin)
    return prompt_for_questions(options, run_options, lines)


def _check_at_a_glance(options: argparse.Namespace, run_options: argparse.Namespace) -> int:
    """Model, method and video, without loading any; the exit code."""
    configure_logging(run_options.log_level, secrets=secret_values(options.storage_options))
    try:
        named_model(run_options)
        check_method(run_options)
    except (ValueError, OSError) as error:
        LOG.error("%s", error)
        return EXIT_USAGE
    if _is_there(options.video):
        return EXIT_OK
    LOG.error("there is no video at %s: check the path", options.video)
    return EXIT_USAGE


def _is_there(video: str) -> bool:
    """Of a store nobody knows yet."""
    return has_scheme(video) or Path(video).is_file()


def _command(manifest: str, options: argparse.Namespace, settings: list[str]) -> list[str]:
    """Of ``run.py``."""
    command = ["--manifest", manifest, "--output", options.output, "--retry-failed", *settings]
    for name, value in _DEFAULTS.items():
        if not any(setting.partition("=")[0] == name for setting in settings):
            command += [name, value]
    if options.storage_options is not None:
        command += ["--storage-options", json.dumps(options.storage_options)]
    return command


def _settings_parser(parser: CommandParser) -> CommandParser:
    """Explains a wrong setting in terms of this command."""
    settings_parser = build_parser(parser.prog, _USAGE)
    settings_parser.elsewhere = parser.own_options()
    return settings_parser


def _run(manifest: Path, options: argparse.Namespace, settings: list[str], parser: CommandParser) -> int:
    """``run.py`` with one question; what it prints is about many."""
    command = _command(str(manifest), options, settings)
    run_options = _settings_parser(parser).parse_args(command)
    if not _is_there(options.video):
        return _check_at_a_glance(options, run_options)
    with redirect_stdout(io.StringIO()):
        return run(command)


def _manifest_row(options: argparse.Namespace, question_id: str) -> dict[str, object]:
    row: dict[str, object] = {
        "question_id": question_id,
        "video": absolute(options.video),
        "question": options.question,
    }
    given = {"options": options.options, "start_s": options.start, "end_s": options.end}
    given["transcript"] = transcript_cell(options.transcript)
    return row | {name: value for name, value in given.items() if value is not None}


def _question_id(options: argparse.Namespace) -> str:
    content: list[object] = [options.video, options.question, options.options]
    part = [options.start, options.end, options.transcript]
    content += [part] if part != [None, None, None] else []
    return f"ask-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]}"


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
    parser.add_argument("question", nargs="?", help="in quotes: one argument; without it questions are prompted for")
    parser.add_argument("--options", nargs="+", metavar="OPTION", help="at least two answers to choose from")
    parser.add_argument("--start", type=seconds, metavar="TIME", help="only from there: seconds, 12:30 or 1:02:03")
    parser.add_argument("--end", type=seconds, metavar="TIME", help="only to there")
    parser.add_argument("--transcript", metavar="FILE|TEXT", help="what is said: an .srt or .vtt file, or the text")
    parser.add_argument("--output", default="ask_output", help="folder of answers and pages (default: ask_output)")
    parser.add_argument("--html", metavar="FILE", help="the page (default: OUTPUT/report/QUESTION.html)")
    parser.add_argument("--no-report", action="store_true", help="write no page")
    add_storage_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
