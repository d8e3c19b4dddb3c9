"""Chooses the entropy below which a group counts as confident, and says what it promises on videos it never saw."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.analysis.asked_questions import AskedQuestion, Settings
from pipeline.evaluation.analysis.replay import (
    Stop,
    TradePoint,
    candidate_thresholds,
    find_share,
    measure_stops,
    replay_all,
    trade_point,
)

FULL_METHOD = "adapttoken"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is wanted; exactly one of the two.

    Attributes:
        max_loss: of accuracy, or without labels share of questions that may be answered otherwise; in [0, 1].
        groups_share: groups scored of groups planned; in (0, 1].
        uses_labels: whether the loss is one of accuracy.
    """

    max_loss: float | None = None
    groups_share: float | None = None
    uses_labels: bool = True

    def __post_init__(self) -> None:
        if (self.max_loss is None) == (self.groups_share is None):
            raise ValueError("name either a loss of accuracy or a share of groups, not both and not neither")
        if self.max_loss is not None and not 0 <= self.max_loss <= 1:
            raise ValueError(f"max_accuracy_loss must be in [0, 1], got {self.max_loss}; 0.01 is one point")
        if self.groups_share is not None and not 0 < self.groups_share <= 1:
            raise ValueError(f"groups_share must be in (0, 1], got {self.groups_share}; 0.3 is 30 %")

    def loss_of(self, point: TradePoint) -> float:
        """The loss that counts."""
        if not self.uses_labels:
            return point.changed_share.value
        assert point.loss is not None, "labels were checked before"
        return point.loss.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """The choice, and what it is worth.

    Attributes:
        chosen: over all questions; its threshold is what a preset gets.
        held_out: every question judged at the threshold chosen without its half of the videos; None with one video.
        held_out_thresholds: of the two halves.
        curve: all candidates, ascending.
        reaches_target: whether any candidate does.
    """

    settings: Settings
    target: Target
    confident_groups: int
    chosen: TradePoint
    held_out: TradePoint | None
    held_out_thresholds: tuple[float, float] | None
    curve: tuple[TradePoint, ...]
    reaches_target: bool
    num_videos: int


def common_settings(questions: Sequence[AskedQuestion]) -> Settings:
    """The one configuration of all questions.

    Raises:
        ValueError: There is none, there are several, or it is not the full method.
    """
    found = list(dict.fromkeys(question.settings for question in questions))
    if not found:
        raise ValueError("the runs hold no answered questions; name the --output of run.py --method adapttoken")
    if len(found) > 1:
        named = ", ".join(f"{one.model} {one.method} {one.config_hash[:6]}" for one in found)
        raise ValueError(f"the runs hold {len(found)} configurations ({named}); thresholds do not transfer: name one")
    if found[0].method != FULL_METHOD:
        raise ValueError(f"a calibration takes rows of method {FULL_METHOD!r}, got {found[0].method!r}: run that first")
    return found[0]


def calibrate(
    questions: Sequence[AskedQuestion], target: Target, *, confident_groups: int, num_quantiles: int = 60
) -> Calibration:
    """Choose a threshold, and judge the way of choosing it by halves of the videos.

    Raises:
        ValueError: Several configurations, a group missing, or a loss of accuracy wanted without labels.
    """
    settings = common_settings(questions)
    if target.max_loss is not None and target.uses_labels and all(item.expected is None for item in questions):
        raise ValueError("no question has a label (column 'expected'): leave --labels out to count changed answers")
    curve = trade_curve(questions, confident_groups=confident_groups, num_quantiles=num_quantiles)
    chosen, reaches_target = choose(questions, curve, target, confident_groups=confident_groups)
    held_out, thresholds = _hold_out(questions, target, confident_groups=confident_groups, num_quantiles=num_quantiles)
    return Calibration(
        settings=settings,
        target=target,
        confident_groups=confident_groups,
        chosen=chosen,
        held_out=held_out,
        held_out_thresholds=thresholds,
        curve=tuple(curve),
        reaches_target=reaches_target,
        num_videos=len({question.video for question in questions}),
    )


def trade_curve(questions: Sequence[AskedQuestion], *, confident_groups: int, num_quantiles: int) -> list[TradePoint]:
    """Every candidate threshold, ascending: ever fewer groups."""
    thresholds = candidate_thresholds(questions, num_quantiles=num_quantiles)
    return [
        trade_point(questions, confident_groups=confident_groups, stop_entropy=float(threshold))
        for threshold in thresholds
    ]


def choose(
    questions: Sequence[AskedQuestion], curve: Sequence[TradePoint], target: Target, *, confident_groups: int
) -> tuple[TradePoint, bool]:
    """The point that a target asks for, and whether it is reached.

    A share of groups: the smallest threshold that gets by with it. A loss: the largest candidate up to which none
    loses more, so that one lucky candidate beyond a bad one is not taken. Out of reach, the nearest end.
    """
    if target.groups_share is not None:
        threshold = find_share(questions, target.groups_share, confident_groups=confident_groups)
        if threshold is None:
            return curve[-1], False
        return trade_point(questions, confident_groups=confident_groups, stop_entropy=threshold), True
    assert target.max_loss is not None
    best = None
    for point in curve:
        if target.loss_of(point) > target.max_loss + 1e-12:
            break
        best = point
    return (curve[0], False) if best is None else (best, True)


def halves_of(videos: Sequence[str]) -> dict[str, int]:
    """Half 0 or 1 of every video, equal in size but for one, by a hash of its name: order and number do not matter."""
    shuffled = sorted(set(videos), key=lambda video: (hashlib.sha256(video.encode()).digest(), video))
    return {video: index % 2 for index, video in enumerate(shuffled)}


def _hold_out(
    questions: Sequence[AskedQuestion], target: Target, *, confident_groups: int, num_quantiles: int
) -> tuple[TradePoint | None, tuple[float, float] | None]:
    half_of = halves_of([question.video for question in questions])
    halves = [[question for question in questions if half_of[question.video] == half] for half in (0, 1)]
    if not all(halves) or not _can_choose(halves, target):
        return None, None
    judged: list[AskedQuestion] = []
    stops: list[Stop] = []
    thresholds: list[float] = []
    for chosen_on, judged_on in (halves, halves[::-1]):
        curve = trade_curve(chosen_on, confident_groups=confident_groups, num_quantiles=num_quantiles)
        threshold = choose(chosen_on, curve, target, confident_groups=confident_groups)[0].stop_entropy
        judged += judged_on
        stops += replay_all(judged_on, confident_groups=confident_groups, stop_entropy=threshold)
        thresholds.append(threshold)
    point = measure_stops(judged, stops, stop_entropy=sum(thresholds) / 2)
    return point, (thresholds[0], thresholds[1])


def _can_choose(halves: Sequence[Sequence[AskedQuestion]], target: Target) -> bool:
    """Whether each half has the labels that the target needs."""
    needs_labels = target.max_loss is not None and target.uses_labels
    return not needs_labels or all(any(item.expected is not None for item in half) for half in halves)
