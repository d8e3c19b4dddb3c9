"""An evaluation as JSON: every figure of the report, unrounded, with the settings it belongs to."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from pipeline.evaluation.scoring.evaluation import Evaluation
from pipeline.evaluation.scoring.paired import Comparison
from pipeline.evaluation.scoring.paper import SOURCE, paper_frame_scaling, paper_table
from pipeline.evaluation.scoring.paper_column import comparable_figure


def report_json(evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison]) -> bytes:
    """All evaluations of all benchmarks, and all comparisons; the paper's figures stand apart."""
    benchmarks = dict.fromkeys(item.answers.benchmark.name for item in evaluations)
    report = {
        "evaluations": [_evaluation(item) for item in evaluations],
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "paper": {
            "source": SOURCE,
            "figures": [
                asdict(figure) for name in benchmarks for figure in (*paper_table(name), *paper_frame_scaling(name))
            ],
        },
    }
    return (json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _evaluation(item: Evaluation) -> dict[str, object]:
    answers = item.answers
    figure = comparable_figure(item)
    return {
        "run": answers.label,
        "benchmark": answers.benchmark.name or None,
        "model": answers.model,
        "method": answers.method,
        "config_hash": answers.config_hash,
        "scorer": item.scorer,
        "prompt_style": answers.prompt_style,
        "with_subtitles": item.with_subtitles,
        "overall": None if item.overall is None else asdict(item.overall),
        "macro": None if item.macro is None else asdict(item.macro),
        "of_parsed_responses": None if item.parsed is None else asdict(item.parsed),
        "by_category": {
            category: {value: asdict(accuracy) for value, accuracy in parts.items()}
            for category, parts in item.by_category.items()
        },
        "by_scorer": {name: asdict(accuracy) for name, accuracy in item.by_scorer.items()},
        "parsed_by": dict(item.parsed_by),
        "evidence": None if item.evidence is None else asdict(item.evidence),
        "counts": asdict(item.counts),
        "work": asdict(item.work),
        "paper_percent": None if figure is None else figure.percent,
    }
