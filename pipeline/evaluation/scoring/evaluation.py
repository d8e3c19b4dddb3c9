"""One answer set under one scorer, measured in every way that the report shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pipeline.evaluation.scoring.accuracy import (
    Accuracy,
    MacroAccuracy,
    accuracy_by_category,
    accuracy_by_label,
    macro_accuracy,
    measure_accuracy,
)
from pipeline.evaluation.scoring.answers import Answer, AnswerSet
from pipeline.evaluation.scoring.evidence_hits import EvidenceHits, measure_hits
from pipeline.evaluation.scoring.judging import Judged, judge
from pipeline.evaluation.scoring.scorers import SCORERS, default_scorer, get_scorer


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Questions that are not simply right or wrong.

    Attributes:
        failed: rows with status ``failed``; wrong.
        missing: of the manifest, without a row; wrong.
        unparsed: responses in which the scorer finds no letter; wrong.
        guessed: letters that LongVideoBench's rule drew at random.
        without_truth: whose right answer is not known; in no accuracy.
        superseded: rows of an older version of the same video; not counted.
    """

    failed: int
    missing: int
    unparsed: int
    guessed: int
    without_truth: int
    superseded: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What the answers cost; means over answered questions. None where no row says."""

    groups_share: float | None
    tokens_kept: float | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Everything about one answer set.

    Attributes:
        overall: over all questions with a known answer; None without any.
        macro: the mean over the benchmark's headline category, where it has one.
        parsed: over the responses with a letter only, as VideoMME's official script counts.
        by_category: category -> value -> accuracy; labels under their column's name. An archive's category with one
            value only is left out.
        by_scorer: accuracy of the same answers under every scorer that has a rule for them.
        parsed_by: how often each part of the rule decided.
        with_subtitles: whether questions were asked with subtitles.
    """

    answers: AnswerSet
    scorer: str
    judged: tuple[Judged, ...]
    overall: Accuracy | None
    macro: MacroAccuracy | None
    parsed: Accuracy | None
    by_category: Mapping[str, Mapping[str, Accuracy]]
    by_scorer: Mapping[str, Accuracy]
    parsed_by: Mapping[str, int]
    evidence: EvidenceHits | None
    counts: Counts
    work: Work
    with_subtitles: bool


def evaluate(answers: AnswerSet, *, scorer: str | None = None) -> Evaluation:
    """Score an answer set.

    Args:
        answers: of one configuration and benchmark.
        scorer: name; None is the benchmark's official rule, for archives ``option_probabilities``.

    Raises:
        ValueError: The scorer is unknown or has no rule for this benchmark.
    """
    benchmark = answers.benchmark
    name = scorer or default_scorer(benchmark.name, answers.prompt_style)
    judged = judge(answers.answers, get_scorer(name))
    fewest = 1 if benchmark.name else 2
    measured = {category: accuracy_by_category(judged, category) for category in benchmark.categories}
    by_category = {category: parts for category, parts in measured.items() if len(parts) >= fewest}
    if benchmark.labels is not None and (labels := accuracy_by_label(judged)):
        by_category[benchmark.labels] = labels
    return Evaluation(
        answers=answers,
        scorer=name,
        judged=tuple(judged),
        overall=measure_accuracy(judged),
        macro=macro_accuracy(judged, benchmark.macro_category) if benchmark.macro_category else None,
        parsed=measure_accuracy([item for item in judged if item.answer.is_answered and not item.is_unparsed]),
        by_category=by_category,
        by_scorer=_under_every_scorer(answers),
        parsed_by=dict(Counter(item.reading.parsed_by for item in judged if item.answer.is_answered).most_common()),
        evidence=measure_hits(answers.answers),
        counts=_count(answers, judged),
        work=_measure_work([answer for answer in answers.answers if answer.is_answered]),
        with_subtitles=any(answer.num_subtitles is not None for answer in answers.answers),
    )


def _under_every_scorer(answers: AnswerSet) -> dict[str, Accuracy]:
    measured: dict[str, Accuracy] = {}
    for name, scorer in SCORERS.items():
        if name == "official" and not answers.benchmark.name:
            continue  # an archive has no official rule
        accuracy = measure_accuracy(judge(answers.answers, scorer))
        if accuracy is not None:
            measured[name] = accuracy
    return measured


def _count(answers: AnswerSet, judged: Sequence[Judged]) -> Counts:
    rows = answers.answers
    return Counts(
        failed=sum(answer.has_row and not answer.is_answered for answer in rows),
        missing=sum(not answer.has_row for answer in rows),
        unparsed=sum(item.is_unparsed for item in judged),
        guessed=sum(item.reading.parsed_by == "random-guess" for item in judged),
        without_truth=sum(answer.expected is None for answer in rows),
        superseded=answers.num_superseded,
    )


def _measure_work(answered: Sequence[Answer]) -> Work:
    groups = [answer.groups for answer in answered if answer.groups]
    planned = sum(total for _, total in groups)
    tokens = [answer.num_tokens_kept for answer in answered if answer.num_tokens_kept is not None]
    seconds = [answer.total_s for answer in answered if answer.total_s is not None]
    return Work(
        groups_share=sum(scored for scored, _ in groups) / planned if planned else None,
        tokens_kept=fmean(tokens) if tokens else None,
        seconds=fmean(seconds) if seconds else None,
    )
