"""Chooses AdaptToken-Lite's ``stop_entropy`` from finished ``adapttoken`` runs; no GPU, nothing is computed anew.

Prints the trade-off, judged on videos held out, and writes the settings that ``run.py --config FILE --method
adapttoken-lite`` reads; nothing where the videos held out do not keep what is wanted. See docs/analysis.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_FAILURES, EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.extras import check_extra
from jobs.wiring.storage_options import parse_storage_options
from jobs.wiring.terminal import measure_width
from pipeline.evaluation.analysis.asked_questions import CHOICE, OPEN, AskedQuestion, read_questions
from pipeline.evaluation.analysis.calibration import FULL_METHOD, Target, calibrate
from pipeline.evaluation.analysis.calibration_plot import draw_calibration
from pipeline.evaluation.analysis.calibration_report import (
    calibration_json,
    calibration_tables,
    describe_refusal,
    preset_yaml,
)
from pipeline.failures import with_store_errors
from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.results.finished import read_answers
from pipeline.results.tables import to_text
from pipeline.uris import redact_text


def main(arguments: list[str] | None = None, *, prog: str = "calibrate.py") -> int:
    """Calibrate once; returns the exit code."""
    options = _build_parser(prog).parse_args(arguments)
    try:
        if options.plot is not None:
            check_extra("plots")
        target = _target(options)
        questions = _read_runs(options)
        calibration = calibrate(questions, target, confident_groups=options.confident_groups)
        tables = calibration_tables(calibration, questions)
        print(to_text(tables, width=measure_width()))
        storage = options.storage_options
        if calibration.is_kept:
            write_bytes_atomic(options.output, preset_yaml(calibration).encode(), storage_options=storage)
            print(f"\n{options.output}")
        if options.json is not None:
            write_bytes_atomic(options.json, calibration_json(calibration), storage_options=storage)
        if options.plot is not None:
            draw_calibration(calibration, options.plot)
    except with_store_errors(ValueError, OSError) as error:
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ValueError) else EXIT_JOB
    if not calibration.is_kept:
        print(f"error: {options.output} is not written: {describe_refusal(calibration)}", file=sys.stderr)
        return EXIT_FAILURES
    return EXIT_OK


def _target(options: argparse.Namespace) -> Target:
    uses_labels = options.labels is not None
    if options.groups_share is not None:
        return Target(groups_share=options.groups_share, uses_labels=uses_labels)
    return Target(max_loss=options.max_accuracy_loss, uses_labels=uses_labels)


def _read_runs(options: argparse.Namespace) -> list[AskedQuestion]:
    """Each question once, whatever run it was answered in; rows of other methods beside the full one are left."""
    found: dict[str, AskedQuestion] = {}
    for run in options.runs:
        table = read_answers(run, storage_options=options.storage_options)
        labels = options.labels
        if labels not in (None, "expected"):
            if labels not in table.column_names:
                raise ValueError(f"--labels names no column of {run}: {labels!r}; leave it out, or name the right one")
            others = [name for name in table.column_names if name not in (labels, "expected")]
            table = table.select([*others, labels]).rename_columns([*others, "expected"])
        for question in read_questions(table):
            found.setdefault(question.question_key, question)
    return _wanted(list(found.values()), options.questions)


def _wanted(questions: Sequence[AskedQuestion], kind: str) -> list[AskedQuestion]:
    full = [question for question in questions if question.settings.method == FULL_METHOD] or list(questions)
    return [question for question in full if kind == "all" or question.is_choice == (kind == CHOICE)]


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = command_parser(
        prog,
        __doc__,
        exit_codes="0 done, 2 usage or runs that cannot be used, 3 videos held out do not keep what is wanted, "
        "1 the storage failed",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the --output of run.py --method adapttoken")
    parser.add_argument("--output", required=True, metavar="YAML", help="settings to write")
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--max-accuracy-loss", type=float, default=0.01, help="share of questions, default 0.01: one point"
    )
    target.add_argument("--groups-share", type=float, help="groups scored of groups planned, e.g. 0.3")
    parser.add_argument(
        "--labels", metavar="COLUMN", help="right answers, e.g. expected; without, a changed answer counts as a loss"
    )
    parser.add_argument("--questions", choices=("all", CHOICE, OPEN), default="all", help="which ones; default all")
    parser.add_argument("--confident-groups", type=int, default=2, help="that must agree; default 2")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the trade-off")
    parser.add_argument("--json", metavar="FILE", help="write every figure unrounded")
    parser.add_argument("--storage-options", type=parse_storage_options, metavar="JSON|@FILE", help="for s3://")
    return parser


if __name__ == "__main__":
    sys.exit(main())
