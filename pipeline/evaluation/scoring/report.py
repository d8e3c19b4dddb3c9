"""What a person reads of an evaluation: tables per benchmark, the paper's figures marked as the paper's."""

from collections.abc import Mapping, Sequence

from pipeline.evaluation.scoring.accuracy import Accuracy
from pipeline.evaluation.scoring.evaluation import Evaluation
from pipeline.evaluation.scoring.evidence_hits import FEW_SPANS
from pipeline.evaluation.scoring.paired import FEW_VIDEOS, Comparison
from pipeline.evaluation.scoring.paper import SOURCE, paper_frame_scaling, paper_table
from pipeline.evaluation.scoring.paper_column import comparable_figure, notes_on_the_paper
from pipeline.results.tables import Table

_NONE = "–"


def report_tables(evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison]) -> list[Table]:
    """All tables of one benchmark's evaluations, the most important first."""
    tables = [_headline(evaluations), *_categories(evaluations), _scorers(evaluations)]
    if comparisons:
        tables.append(_comparisons(comparisons))
    if any(evaluation.evidence for evaluation in evaluations):
        tables.append(_evidence(evaluations))
    benchmark = evaluations[0].answers.benchmark
    if paper_table(benchmark.name):
        tables.append(_paper(benchmark.name))
    return tables


def percent(value: float | None, *, digits: int = 1) -> str:
    """``0.7051 -> 70.5``; a dash for what is not known."""
    return _NONE if value is None else f"{100 * value:.{digits}f}"


def with_error(value: float, error: float | None) -> str:
    """``70.5 ± 1.2``."""
    return percent(value) + ("" if error is None else f" ± {percent(error)}")


def _headline(evaluations: Sequence[Evaluation]) -> Table:
    benchmark = evaluations[0].answers.benchmark
    has_macro = benchmark.macro_category is not None
    header = ["run", "model", "method", "questions", "accuracy %"]
    header += [f"M-Avg % (mean of {benchmark.macro_category})"] if has_macro else []
    header += ["paper's %", "failed", "unparsed", "groups %", "tokens", "s/question"]
    return Table(
        title=f"{benchmark.title}: accuracy, scorer {', '.join(sorted({item.scorer for item in evaluations}))}",
        header=tuple(header),
        rows=tuple(tuple(_headline_row(item, has_macro=has_macro)) for item in evaluations),
        notes=tuple(dict.fromkeys(note for item in evaluations for note in _notes(item))),
    )


def _headline_row(item: Evaluation, *, has_macro: bool) -> list[str]:
    answers, overall, macro, work = item.answers, item.overall, item.macro, item.work
    figure = comparable_figure(item)
    cells = [answers.label, _short(answers.model), answers.method]
    cells += [str(overall.num_questions if overall else 0), _share(overall)]
    if has_macro:
        cells.append(_NONE if macro is None else with_error(macro.accuracy, macro.standard_error))
    cells += [_NONE if figure is None else f"{figure.percent:.1f} ({figure.method})"]
    cells += [str(item.counts.failed + item.counts.missing), str(item.counts.unparsed)]
    cells += [percent(work.groups_share, digits=0)]
    cells += [_NONE if work.tokens_kept is None else f"{work.tokens_kept:,.0f}"]
    return [*cells, _NONE if work.seconds is None else f"{work.seconds:.1f}"]


def _notes(item: Evaluation) -> list[str]:
    counts, label = item.counts, item.answers.label
    notes = ["accuracy is over questions ± standard error clustered by video; failed and unparsed count as wrong"]
    if item.overall and item.overall.num_videos < FEW_VIDEOS:
        notes.append(f"{label}: only {item.overall.num_videos} videos: the errors are too small")
    if item.parsed and item.overall and item.parsed.num_questions != item.overall.num_questions:
        notes.append(f"{label}: {_share(item.parsed)} of the {item.parsed.num_questions} that could be read")
    notes += notes_on_the_paper(item)
    if counts.missing:
        notes.append(f"{label}: {counts.missing} questions of the manifest have no row and count as wrong")
    if counts.guessed:
        notes.append(f"{label}: {counts.guessed} letters were drawn at random, as the benchmark's rule says")
    if counts.without_truth:
        notes.append(f"{label}: {counts.without_truth} questions without a known answer are not counted")
    if counts.superseded:
        notes.append(f"{label}: {counts.superseded} rows of older versions of a video are not counted")
    if item.with_subtitles:
        notes.append(f"{label}: asked with subtitles; the paper's figures are without")
    return notes


def _categories(evaluations: Sequence[Evaluation]) -> list[Table]:
    categories = dict.fromkeys(category for item in evaluations for category in item.by_category)
    tables = []
    for category in categories:
        parts = [item.by_category.get(category, {}) for item in evaluations]
        values = dict.fromkeys(value for part in parts for value in part)
        tables.append(
            Table(
                title=f"by {category}",
                header=("value", "questions", *(f"{item.answers.label} %" for item in evaluations)),
                rows=tuple(
                    (value, _num_questions(value, parts), *(_share(part.get(value)) for part in parts))
                    for value in values
                ),
            )
        )
    return tables


def _num_questions(value: str, parts: Sequence[Mapping[str, Accuracy]]) -> str:
    return "/".join(dict.fromkeys(str(part[value].num_questions) if value in part else "0" for part in parts))


def _scorers(evaluations: Sequence[Evaluation]) -> Table:
    names = dict.fromkeys(name for item in evaluations for name in item.by_scorer)
    return Table(
        title="the same answers under every scorer",
        header=("scorer", *(f"{item.answers.label} %" for item in evaluations)),
        rows=tuple((name, *(_share(item.by_scorer.get(name)) for item in evaluations)) for name in names),
        notes=tuple(
            f"{item.answers.label}, {item.scorer}: read by "
            + ", ".join(f"{rule} {count}" for rule, count in item.parsed_by.items())
            for item in evaluations
            if item.parsed_by
        ),
    )


def _comparisons(comparisons: Sequence[Comparison]) -> Table:
    header = ("run", "against", "questions", "difference, points", "95 % interval", "p", "only run", "only other")
    few = sorted({item.num_videos for item in comparisons if item.num_videos < FEW_VIDEOS})
    return Table(
        title="paired differences (same questions, clustered by video)",
        header=header,
        rows=tuple(
            (
                *(item.other, item.baseline, str(item.num_questions), f"{100 * item.difference:+.1f}"),
                _NONE if item.low is None or item.high is None else f"{100 * item.low:+.1f} … {100 * item.high:+.1f}",
                _NONE if item.p_value is None else f"{item.p_value:.3f}",
                *(str(item.num_only_other), str(item.num_only_baseline)),
            )
            for item in comparisons
        ),
        notes=tuple(f"only {count} videos: interval and p are too narrow" for count in few),
    )


def _evidence(evaluations: Sequence[Evaluation]) -> Table:
    rows = []
    for item in evaluations:
        hits = item.evidence
        if hits is not None:
            shares = (hits.top_hit_share, hits.few_hit_share, hits.chance, hits.reference_share)
            rows.append((item.answers.label, str(hits.num_questions), str(hits.num_skipped), *map(percent, shares)))
    return Table(
        title="evidence against where the answer is to be seen",
        header=(
            *("run", "questions", "skipped", "top span hits %", f"one of {FEW_SPANS} hits %"),
            *("a span anywhere hits %", "reference covers % (median)"),
        ),
        rows=tuple(rows),
        notes=("skipped: the reference is reversed, empty or unreadable",),
    )


def _paper(benchmark: str) -> Table:
    figures = (*paper_table(benchmark), *paper_frame_scaling(benchmark))
    return Table(
        title=f"the paper's figures ({SOURCE}), not measured here",
        header=("model", "method", "frames at most", "paper's %"),
        rows=tuple(
            (
                figure.base,
                figure.method,
                _NONE if figure.max_frames is None else f"{figure.max_frames:,}",
                f"{figure.percent:.1f}",
            )
            for figure in figures
        ),
    )


def _share(accuracy: Accuracy | None) -> str:
    return _NONE if accuracy is None else with_error(accuracy.accuracy, accuracy.standard_error)


def _short(model: str) -> str:
    return model.rstrip("/").rsplit("/", 1)[-1]
