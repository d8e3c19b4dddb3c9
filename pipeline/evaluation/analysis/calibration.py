"""Chooses the entropy below which a group counts as confident, and says what it promises on videos it never saw."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

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
_ROUNDING = 1e-12
_TRIED_TARGETS = 40


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

    def is_kept_by(self, point: TradePoint) -> bool:
        """Whether videos that had no part in the choice keep it.

        A loss: as measured. A share of groups: unless the 95 % interval lies above it, as chance moves it either way.
        """
        if self.max_loss is not None:
            return self.loss_of(point) <= self.max_loss + _ROUNDING
        assert self.groups_share is not None
        share = point.groups_share
        return (share.value if share.low is None else share.low) <= self.groups_share + _ROUNDING


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """The choice, and what it is worth.

    Attributes:
        chosen: over all questions; its threshold is what a preset gets.
        held_out: every question judged at the threshold chosen without its half of the videos; None with one video.
        held_out_thresholds: of the two halves.
        curve: all candidates, ascending.
        reaches_target: whether any candidate does.
        passing: where the target is not kept on videos held out: the nearest one that is; None where none was found.
    """

    settings: Settings
    target: Target
    confident_groups: int
    chosen: TradePoint
    held_out: TradePoint | None
    held_out_thresholds: tuple[float, float] | None
    curve: tuple[TradePoint, ...]
    reaches_target: bool
    passing: Target | None
    num_videos: int

    @property
    def is_kept(self) -> bool:
        """Whether the preset may be used: the target is reached, and kept on videos held out."""
        return self.reaches_target and self.held_out is not None and self.target.is_kept_by(self.held_out)


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
    halves = _halves(questions, target, confident_groups=confident_groups, num_quantiles=num_quantiles)
    held_out, thresholds = (None, None) if halves is None else _hold_out(halves, target, confident_groups)
    is_kept = reaches_target and held_out is not None and target.is_kept_by(held_out)
    passing = None if is_kept or halves is None else _find_passing(halves, curve, target, confident_groups)
    return Calibration(
        settings=settings,
        target=target,
        confident_groups=confident_groups,
        chosen=chosen,
        held_out=held_out,
        held_out_thresholds=thresholds,
        curve=tuple(curve),
        reaches_target=reaches_target,
        passing=passing,
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
        if target.loss_of(point) > target.max_loss + _ROUNDING:
            break
        best = point
    return (curve[0], False) if best is None else (best, True)


def halves_of(videos: Sequence[str]) -> dict[str, int]:
    """Half 0 or 1 of every video, equal in size but for one, by a hash of its name: order and number do not matter."""
    shuffled = sorted(set(videos), key=lambda video: (hashlib.sha256(video.encode()).digest(), video))
    return {video: index % 2 for index, video in enumerate(shuffled)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Half:
    questions: Sequence[AskedQuestion]
    curve: Sequence[TradePoint]


def _halves(
    questions: Sequence[AskedQuestion], target: Target, *, confident_groups: int, num_quantiles: int
) -> list[_Half] | None:
    """Two halves of the videos, each with its trade-off; None where one has nothing to choose or judge by."""
    half_of = halves_of([question.video for question in questions])
    parts = [[question for question in questions if half_of[question.video] == half] for half in (0, 1)]
    if not all(parts) or not _can_choose(parts, target):
        return None
    return [
        _Half(questions=part, curve=trade_curve(part, confident_groups=confident_groups, num_quantiles=num_quantiles))
        for part in parts
    ]


def _hold_out(halves: Sequence[_Half], target: Target, confident_groups: int) -> tuple[TradePoint, tuple[float, float]]:
    judged: list[AskedQuestion] = []
    stops: list[Stop] = []
    thresholds: list[float] = []
    for chosen_on, judged_on in (halves, halves[::-1]):
        point, _ = choose(chosen_on.questions, chosen_on.curve, target, confident_groups=confident_groups)
        judged += judged_on.questions
        stops += replay_all(judged_on.questions, confident_groups=confident_groups, stop_entropy=point.stop_entropy)
        thresholds.append(point.stop_entropy)
    point = measure_stops(judged, stops, stop_entropy=sum(thresholds) / 2)
    return point, (thresholds[0], thresholds[1])


def _find_passing(
    halves: Sequence[_Half], curve: Sequence[TradePoint], target: Target, confident_groups: int
) -> Target | None:
    """The smallest larger loss, or share, that this sample reaches and that its halves keep on each other."""
    if target.groups_share is not None:
        least = min(point.groups_share.value for half in halves for point in half.curve)
        asked = [share / 100 for share in range(1, 101) if share / 100 > max(target.groups_share, least)]
        tried = [replace(target, groups_share=share) for share in asked]
    else:
        assert target.max_loss is not None
        points = [*curve, *(point for half in halves for point in half.curve)]
        losses = {min(1.0, ceil(1000 * target.loss_of(point) - _ROUNDING) / 1000) for point in points}
        tried = [replace(target, max_loss=loss) for loss in sorted(losses) if loss > target.max_loss]
    for one in tried[:_TRIED_TARGETS]:
        if one.max_loss is not None and one.loss_of(curve[0]) > one.max_loss + _ROUNDING:
            continue  # out of reach on all questions
        if one.is_kept_by(_hold_out(halves, one, confident_groups)[0]):
            return one
    return None


def _can_choose(halves: Sequence[Sequence[AskedQuestion]], target: Target) -> bool:
    """Whether each half has the labels that the target needs."""
    needs_labels = target.max_loss is not None and target.uses_labels
    return not needs_labels or all(any(item.expected is not None for item in half) for half in halves)
