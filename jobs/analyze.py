"""The paper's analyses over finished runs, and ablations that run what they need; JSON, Markdown and PNG of each.

  python jobs/analyze.py entropy-needle  RUN … --output DIR     groups with and without what is asked for
  python jobs/analyze.py entropy-correct RUN … --output DIR     right and wrong groups, accuracy below an entropy
  python jobs/analyze.py frames          RUN … --output DIR     accuracy by number of frames
  python jobs/analyze.py lite       FULL LITE  --output DIR     accuracy and work of the early stop
  python jobs/analyze.py ablate NAME --manifest FILE --output DIR --model MODEL [options of run.py]

See docs/analysis.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.wiring.cli import build_parser
from jobs.wiring.command_line import CommandParser, command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.extras import check_extra
from jobs.wiring.start import check_at_a_glance
from jobs.wiring.storage_options import parse_storage_options
from jobs.wiring.terminal import measure_width
from pipeline.evaluation.analysis.ablation_report import analyse_ablation
from pipeline.evaluation.analysis.ablations import ABLATIONS
from pipeline.evaluation.analysis.asked_questions import AskedQuestion, read_questions
from pipeline.evaluation.analysis.by_length import analyse_lengths
from pipeline.evaluation.analysis.entropy_correct import analyse_correctness
from pipeline.evaluation.analysis.entropy_needle import analyse_needles
from pipeline.evaluation.analysis.lite_against_full import analyse_lite
from pipeline.evaluation.analysis.output import Analysis, print_analysis, write_analysis
from pipeline.failures import with_store_errors
from pipeline.results.finished import read_answers
from pipeline.uris import redact_text

_ABLATE_USAGE = "%(prog)s NAME --manifest FILE --output DIR --model MODEL [options of run.py]"


def main(arguments: list[str] | None = None, *, prog: str = "analyze.py") -> int:
    """Analyse once; returns the exit code."""
    parser = _build_parser(prog)
    options, passed_on = parser.parse_known_args(arguments)
    if passed_on and options.analysis != "ablate":
        parser.error(f"unknown options: {' '.join(passed_on)}")
    try:
        check_extra("plots")
        analysis = _ablate(options, passed_on, parser) if options.analysis == "ablate" else _analyse(options)
        print_analysis(analysis, width=measure_width())
        for path in write_analysis(analysis, options.output):
            print(path)
    except with_store_errors(ValueError, OSError) as error:
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ValueError) else EXIT_JOB
    return EXIT_OK


def _ablate(options: argparse.Namespace, passed_on: Sequence[str], parser: CommandParser) -> Analysis:
    """Run what is missing; what is wrong with the options of ``run.py`` is said before anything is loaded."""
    settings_parser = build_parser(f"{parser.prog} ablate", _ABLATE_USAGE)
    settings_parser.elsewhere = parser.own_options()
    run_options = ["--manifest", options.manifest, "--output", str(options.output), *passed_on]
    check_at_a_glance(settings_parser.parse_args(run_options))
    from jobs.wiring.ablation_runs import run_ablation

    ablation = ABLATIONS[options.name]
    runs = run_ablation(
        ablation, values=options.values, manifest=options.manifest, folder=options.output, passed_on=passed_on
    )
    return analyse_ablation(ablation, runs)


def _analyse(options: argparse.Namespace) -> Analysis:
    asked = [read_questions(read_answers(run, storage_options=options.storage_options)) for run in options.runs]
    if options.analysis == "lite":
        full, lite = asked
        return analyse_lite(full, lite)
    if options.analysis == "frames":
        return analyse_lengths(_by_label(options.runs, asked))
    questions = [question for run in asked for question in run]
    if options.analysis == "entropy-needle":
        return analyse_needles(questions, frames_per_patch=options.frames_per_patch)
    return analyse_correctness(questions)


def _by_label(runs: Sequence[str], asked: Sequence[list[AskedQuestion]]) -> dict[str, list[AskedQuestion]]:
    """Questions by method where that tells the runs apart, else by the run's folder."""
    methods = [" ".join(sorted({question.settings.method for question in run})) for run in asked]
    names = [redact_text(run.rstrip("/").rsplit("/", 1)[-1]) for run in runs]
    for labels in (methods, names):
        if len(set(labels)) == len(labels):
            return dict(zip(labels, asked, strict=True))
    raise ValueError(f"the runs cannot be told apart by their names: {', '.join(names)}")


def _build_parser(prog: str) -> CommandParser:
    parser = command_parser(
        prog, __doc__, exit_codes="0 done, 2 usage or runs that cannot be used, 1 the storage or a run failed"
    )
    parts = parser.add_subparsers(dest="analysis", required=True, metavar="ANALYSIS")
    for name in ("entropy-needle", "entropy-correct", "frames"):
        part = _add_part(parts, name)
        part.add_argument("runs", nargs="+", metavar="RUN", help="the --output of run.py")
        if name == "entropy-needle":
            part.add_argument("--frames-per-patch", type=int, default=2, help="of the model: 2 for Qwen-VL, else 1")
    lite = _add_part(parts, "lite")
    lite.add_argument("runs", nargs=2, metavar=("FULL", "LITE"), help="the --output of each")
    ablate = _add_part(parts, "ablate")
    ablate.add_argument("name", choices=ABLATIONS, help="what is changed")
    ablate.add_argument("--manifest", required=True, help="of a synthetic benchmark, or any with a column expected")
    ablate.add_argument("--values", nargs="+", metavar="VALUE", help="instead of the demo model's")
    return parser


def _add_part(parts: "argparse._SubParsersAction[CommandParser]", name: str) -> CommandParser:
    part = parts.add_parser(name, allow_abbrev=False)
    part.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder that receives the files")
    if name != "ablate":
        part.add_argument("--storage-options", type=parse_storage_options, metavar="JSON|@FILE", help="for s3://")
    return part


if __name__ == "__main__":
    sys.exit(main())
