"""The Lite rule played again over a finished full run: nothing is computed anew, no model is needed.

What a stopped question would have answered takes a final pass over fewer groups, which a replay cannot run. The
response on which the confident groups agree stands for it; where the rule never stops, Lite's answer is the full run's.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.analysis.asked_questions import AskedQuestion
from pipeline.evaluation.statistics import Estimate, estimate_mean, estimate_ratio
from pipeline.method.stopping import find_stop


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """What Lite would do with one question: groups that it scores, whether it stops, and its answer or the proxy."""

    num_groups_scored: int
    is_early: bool
    answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TradePoint:
    """Lite at one threshold, over many questions.

    Attributes:
        stop_entropy: nats.
        groups_share: groups scored of groups planned.
        stopped_share: questions that stop before their last group.
        changed_share: questions whose (proxy) answer is not the full run's.
        loss: accuracy of the full run minus that of the (proxy) answers, over labelled questions; None without any.
    """

    stop_entropy: float
    num_questions: int
    groups_share: Estimate
    stopped_share: Estimate
    changed_share: Estimate
    accuracy: Estimate | None
    loss: Estimate | None


def replay(question: AskedQuestion, *, confident_groups: int, stop_entropy: float) -> Stop:
    """Where Lite would stop, by the rule that the engine itself uses.

    Raises:
        ValueError: Not all groups of the question were scored.
    """
    if not question.has_all_groups:
        raise ValueError(
            f"question {question.question_id!r} has {len(question.votes)} of {question.num_groups} groups; an early "
            "stop can only be replayed over a run of method adapttoken"
        )
    length = find_stop(question.votes, confident_groups=confident_groups, stop_entropy=stop_entropy)
    if length is None:
        return Stop(num_groups_scored=question.num_groups, is_early=False, answer=question.answer)
    is_early = length < question.num_groups
    # at the last group Lite has seen what the full run has: its answer is the same
    answer = question.votes[length - 1].response if is_early else question.answer
    return Stop(num_groups_scored=length, is_early=is_early, answer=answer)


def replay_all(questions: Sequence[AskedQuestion], *, confident_groups: int, stop_entropy: float) -> list[Stop]:
    """The same of many."""
    return [replay(question, confident_groups=confident_groups, stop_entropy=stop_entropy) for question in questions]


def measure_stops(questions: Sequence[AskedQuestion], stops: Sequence[Stop], *, stop_entropy: float) -> TradePoint:
    """Work and loss of the stops of these questions."""
    videos = [question.video for question in questions]
    changed = [not question.says_the_same(stop.answer) for question, stop in zip(questions, stops, strict=True)]
    losses, rights, labelled = [], [], []
    for question, stop in zip(questions, stops, strict=True):
        before, after = question.is_right(question.answer), question.is_right(stop.answer)
        if before is not None and after is not None:
            losses.append(float(before) - float(after))
            rights.append(float(after))
            labelled.append(question.video)
    return TradePoint(
        stop_entropy=stop_entropy,
        num_questions=len(questions),
        groups_share=estimate_ratio(
            [stop.num_groups_scored for stop in stops], [question.num_groups for question in questions], videos
        ),
        stopped_share=estimate_mean([stop.is_early for stop in stops], videos),
        changed_share=estimate_mean(changed, videos),
        accuracy=estimate_mean(rights, labelled) if labelled else None,
        loss=estimate_mean(losses, labelled) if labelled else None,
    )


def trade_point(questions: Sequence[AskedQuestion], *, confident_groups: int, stop_entropy: float) -> TradePoint:
    """Replay one threshold and measure it."""
    stops = replay_all(questions, confident_groups=confident_groups, stop_entropy=stop_entropy)
    return measure_stops(questions, stops, stop_entropy=stop_entropy)


def candidate_thresholds(questions: Sequence[AskedQuestion], *, num_quantiles: int) -> npt.NDArray[np.float64]:
    """Ascending quantiles of the observed entropies, rounded up so that they can be read and typed."""
    entropies = np.array([vote.entropy for question in questions for vote in question.votes])
    quantiles = np.quantile(entropies, np.linspace(0, 1, num_quantiles + 1), method="higher")
    return np.unique([round_up(float(value)) for value in quantiles])


def find_share(questions: Sequence[AskedQuestion], share: float, *, confident_groups: int) -> float | None:
    """The smallest threshold that gets by with a share of the groups, by bisection; None where none does."""
    entropies = np.unique([round_up(vote.entropy) for question in questions for vote in question.votes])
    planned = sum(question.num_groups for question in questions)

    def is_enough(index: int) -> bool:
        stops = replay_all(questions, confident_groups=confident_groups, stop_entropy=float(entropies[index]))
        return sum(stop.num_groups_scored for stop in stops) <= share * planned

    if not is_enough(len(entropies) - 1):
        return None
    # a larger threshold never scores more groups
    return float(entropies[bisect_left(range(len(entropies)), True, key=is_enough)])


def round_up(value: float) -> float:
    """``0.12341237 -> 0.123413``: six significant digits, never less; 0 stays."""
    if value <= 0:
        return 0.0
    digits = 5 - int(np.floor(np.log10(value)))
    rounded = round(value, digits)
    return rounded if rounded >= value else round(rounded + 10.0**-digits, digits)
