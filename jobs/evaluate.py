"""Scores runs about a benchmark, or about an archive whose manifest has a column ``expected``.

    python jobs/evaluate.py answers_lite answers_full --output scores

prints tables and, with --output, writes evaluation.json and evaluation.md. The first run is what the others are
compared with. The paper's figures stand beside ours and are marked as the paper's. See docs/benchmarks.md.
"""

import argparse
import sys
from collections.abc import Sequence

import pyarrow as pa

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.storage_options import parse_storage_options
from jobs.wiring.terminal import measure_width
from pipeline.evaluation.scoring.answers import AnswerSet, answer_sets
from pipeline.evaluation.scoring.evaluation import Evaluation, evaluate
from pipeline.evaluation.scoring.manifest_truth import truth_table
from pipeline.evaluation.scoring.paired import Comparison, compare_runs
from pipeline.evaluation.scoring.report import report_tables
from pipeline.evaluation.scoring.report_json import report_json
from pipeline.evaluation.scoring.scorers import SCORERS
from pipeline.evaluation.scoring.submissions import submission_bytes
from pipeline.failures import with_store_errors
from pipeline.manifest.reading import read_manifest
from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.results.finished import read_answers
from pipeline.results.tables import Table, to_markdown, to_text
from pipeline.uris import redact_text


def main(arguments: list[str] | None = None, *, prog: str = "evaluate.py") -> int:
    """Score once; returns the exit code."""
    options = _build_parser(prog).parse_args(arguments)
    try:
        evaluations = [evaluate(answers, scorer=options.scorer) for answers in _read_runs(options)]
        by_benchmark = _by_benchmark(evaluations)
        comparisons = {name: _compare(own) for name, own in by_benchmark.items()}
        tables = [table for name, own in by_benchmark.items() for table in report_tables(own, comparisons[name])]
        print(to_text(tables, width=measure_width()))
        _write(options, evaluations, [item for own in comparisons.values() for item in own], tables)
    except with_store_errors(ValueError, OSError) as error:  # a ManifestError is a ValueError
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ValueError) else EXIT_JOB
    return EXIT_OK


def _read_runs(options: argparse.Namespace) -> list[AnswerSet]:
    storage = options.storage_options
    manifest: pa.Table | None = None
    if options.manifest is not None:
        manifest = truth_table(read_manifest(options.manifest, storage_options=storage))
    labels = _labels(options.runs)
    return [
        answers
        for run, label in zip(options.runs, labels, strict=True)
        for answers in answer_sets(read_answers(run, storage_options=storage), label=label, manifest=manifest)
    ]


def _labels(runs: Sequence[str]) -> list[str]:
    """The last part of each address, or the whole where that does not tell them apart."""
    short = [run.rstrip("/").rsplit("/", 1)[-1] for run in runs]
    return short if len(set(short)) == len(short) else [redact_text(run) for run in runs]


def _by_benchmark(evaluations: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    groups: dict[str, list[Evaluation]] = {}
    for item in evaluations:
        groups.setdefault(item.answers.benchmark.name, []).append(item)
    return groups


def _compare(evaluations: Sequence[Evaluation]) -> list[Comparison]:
    first, *others = evaluations
    found = (
        compare_runs(first.judged, other.judged, names=(first.answers.label, other.answers.label)) for other in others
    )
    return [comparison for comparison in found if comparison is not None]


def _write(
    options: argparse.Namespace,
    evaluations: Sequence[Evaluation],
    comparisons: Sequence[Comparison],
    tables: Sequence[Table],
) -> None:
    storage = options.storage_options
    if options.submission is not None:
        if len(evaluations) != 1:
            raise ValueError(f"--submission is for one run of one benchmark, got {len(evaluations)}: name one")
        write_bytes_atomic(options.submission, submission_bytes(evaluations[0].answers), storage_options=storage)
        print(f"\nsubmission: {options.submission}")
    if options.output is not None:
        folder = options.output.rstrip("/")
        write_bytes_atomic(f"{folder}/evaluation.json", report_json(evaluations, comparisons), storage_options=storage)
        write_bytes_atomic(f"{folder}/evaluation.md", to_markdown(tables).encode(), storage_options=storage)
        print(f"\n{folder}/evaluation.json, {folder}/evaluation.md")


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = command_parser(
        prog, __doc__, exit_codes="0 done, 2 usage or answers that cannot be scored, 1 the storage failed"
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the --output of run.py")
    parser.add_argument(
        "--scorer", choices=list(SCORERS), help="default: the benchmark's official rule; archives option_probabilities"
    )
    parser.add_argument("--manifest", help="score its questions only, by its truth; those without a row are wrong")
    parser.add_argument("--output", metavar="DIR", help="folder for evaluation.json and evaluation.md")
    parser.add_argument("--submission", metavar="FILE", help="write what the benchmark's own server takes")
    parser.add_argument("--storage-options", type=parse_storage_options, metavar="JSON|@FILE", help="for s3://")
    return parser


if __name__ == "__main__":
    sys.exit(main())
