"""Training examples about long videos: what one group, or a final pass over tokens of many groups, shows of them.

A virtual video is a timeline (the one synthetic benchmarks are planned by) whose patches come from the pool. The label
is what is true of the whole video, so a clip that shows half of the evidence teaches how sure that half makes.

Shape suffixes:
- P = temporal patches of the virtual video, G = its groups, N = visual tokens of a clip
- K = visual tokens per patch (4), E = events that a question is about
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.demo.scenes import COLORS, SHAPES
from pipeline.lab.demo_training.event_styles import (
    FEWEST_GROUPS,
    GROUP_PATCHES,
    MOST_DISTRACTORS,
    MOST_GROUPS,
    EventStyle,
    timeline_spec,
)
from pipeline.lab.demo_training.examples import Example, shown_shapes
from pipeline.lab.demo_training.kept_tokens import buy_tokens, drop_redundant, drop_surplus
from pipeline.lab.demo_training.patches import FRAMES_PER_PATCH, TOKENS_PER_SIDE, PatchPool
from pipeline.lab.demo_training.question_text import TextMaker, join_questions
from pipeline.lab.demo_training.virtual_video import VirtualVideo, draw_group, draw_groups, is_latest, shows_focus
from pipeline.lab.synthetic.questions import KINDS, DrawnQuestion, Kind, ask, subjects_of
from pipeline.lab.synthetic.timeline import Timeline, draw_timeline

_TOKENS_PER_PATCH = TOKENS_PER_SIDE**2
_COLOR_NAMES = tuple(COLORS)
_LATE_LIKING = 2.5
_KIND_WEIGHT: dict[Kind, float] = {"needle": 1.0, "order": 1.4, "last": 1.4, "absent": 0.6}
_TINY_KINDS: tuple[Kind, ...] = ("order", "last", "count")
SECONDS_PER_PATCH = 1.0  # at 2 sampled frames per second


class EventExampleMaker:
    """Draws virtual videos, clips of them and questions."""

    def __init__(
        self, pool: PatchPool, text: TextMaker, *, num_questions: int, features_NKD: Tensor | None = None
    ) -> None:
        self._pool, self._text, self._num_questions = pool, text, num_questions
        self._features_NKD = features_NKD  # of the pool: without, no style may over-select
        self._background = np.flatnonzero(pool.appearance_N < 0)
        self._runs: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
        order = np.argsort(pool.appearance_N, kind="stable")
        order = order[pool.appearance_N[order] >= 0]
        for run in np.split(order, np.flatnonzero(np.diff(pool.appearance_N[order])) + 1):
            looks = SHAPES[pool.shape_N[run[0]]], _COLOR_NAMES[pool.color_N[run[0]]]
            self._runs.setdefault(looks, []).append(run)

    def make(self, rng: np.random.Generator, style: EventStyle, *, kinds: Sequence[Kind] = KINDS) -> Example:
        """Draw one video, one clip of it and ``num_questions`` questions, of these kinds only."""
        video = self._draw_video(rng, style)
        weights = {
            kind: {"order": style.order_weight, "count": style.count_weight}.get(kind) or _KIND_WEIGHT[kind]
            for kind in kinds
            if not style.is_tiny or kind in _TINY_KINDS
        }
        focus = self._draw_subject(rng, video.plan, weights)
        if style.view == "group":
            group = draw_group(rng, video, focus[1])
            patches_P = np.arange(group, len(video.event_P), video.num_groups)
            pool_P = self._fill(rng, video, patches_P)
            token_index_N = np.arange(style.num_tokens)
            temporal_P = np.arange(len(patches_P))
        else:
            patches_P, pool_P, token_index_N = self._draw_final_pass(rng, video, focus, style)
            temporal_P = np.arange(len(patches_P)) if style.is_tiny else _final_positions(rng, patches_P)
        seen = self._visible_events(video, patches_P, pool_P, token_index_N)
        if style.is_tiny:  # the same object, asked in several ways: what differs is time
            subjects = [focus, *((_draw_kind(rng, weights), focus[1]) for _ in range(self._num_questions - 1))]
        else:
            subjects = [focus] * (self._num_questions // 2 if style.view == "final" else 1)
            rest = self._num_questions - len(subjects)
            subjects += [self._draw_subject(rng, video.plan, weights) for _ in range(rest)]
        asked = [ask(rng, video.plan, kind, shapes) for kind, shapes in subjects]
        parts = [
            self._text.choice(q.text, q.options, said=q.answer or q.options[0], possible=_possible_options(q, seen))
            for q in asked
        ]
        text_ids, segment, offset, targets = join_questions(parts)
        shown_N, run_N = shown_shapes(self._pool, pool_P, token_index_N), self._count_runs(pool_P, token_index_N)
        return Example(
            patches=pool_P,
            token_index_N=token_index_N,
            temporal_N=temporal_P[token_index_N // _TOKENS_PER_PATCH],
            text_ids=text_ids,
            text_segment=segment,
            text_offset=offset,
            targets=targets,
            shown_N=shown_N,
            evidence_QN=np.stack([_evidence_of(question, shown_N, run_N) for question in asked]),
            run_N=run_N,
        )

    def _draw_video(self, rng: np.random.Generator, style: EventStyle) -> VirtualVideo:
        num_groups = round(math.exp(rng.uniform(math.log(FEWEST_GROUPS), math.log(MOST_GROUPS))))
        spec = timeline_spec(
            num_groups, style.event_strides, distractor_density=float(rng.uniform(0, MOST_DISTRACTORS))
        )
        num_patches = num_groups * GROUP_PATCHES
        plan = draw_timeline(rng, spec, num_patches * FRAMES_PER_PATCH)
        event_P = np.full(num_patches, -1)
        for index, event in enumerate(plan.events):
            event_P[event.start_frame // FRAMES_PER_PATCH : -(-event.end_frame // FRAMES_PER_PATCH)] = index
        return VirtualVideo(plan=plan, num_groups=num_groups, event_P=event_P)

    def _draw_subject(
        self, rng: np.random.Generator, plan: Timeline, weights: Mapping[Kind, float]
    ) -> tuple[Kind, tuple[str, ...]]:
        kind = _draw_kind(rng, weights)
        subjects = subjects_of(plan, kind)
        return kind, subjects[int(rng.integers(len(subjects)))]

    def _fill(self, rng: np.random.Generator, video: VirtualVideo, patches_P: NDArray[np.int64]) -> NDArray[np.int64]:
        """A picture of the pool for each of these patches; one event looks alike in all of its patches."""
        pool_P = rng.choice(self._background, len(patches_P))
        event_P = video.event_P[patches_P]
        for index in np.unique(event_P[event_P >= 0]):
            event = video.plan.events[index]
            runs = self._runs.get((event.shape, event.color))
            if runs is None:
                raise ValueError(f"no training picture shows a {event.color} {event.shape}; make more training videos")
            run = runs[int(rng.integers(len(runs)))]
            of_event = np.flatnonzero(event_P == index)
            pool_P[of_event] = run[(int(rng.integers(len(run))) + np.arange(len(of_event))) % len(run)]
        return pool_P

    def _draw_final_pass(
        self, rng: np.random.Generator, video: VirtualVideo, focus: tuple[Kind, tuple[str, ...]], style: EventStyle
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Patches of the video, pool patches, and kept tokens, as the budget and the attention rank would leave them.

        Groups that show more of the asked events give more, and the tokens that show them come first.
        """
        is_focus_P = shows_focus(video, focus[1])
        num_tokens = style.num_tokens
        num_bought = math.ceil(style.over_select * num_tokens)
        fewest = max(-(-num_tokens // (2 * GROUP_PATCHES)), -(-num_bought // (GROUP_PATCHES * _TOKENS_PER_PATCH)))
        groups = draw_groups(rng, video, is_focus_P, fewest=fewest, most=2 if style.is_tiny else video.num_groups)
        patches_P = np.sort((np.arange(0, len(video.event_P), video.num_groups)[:, None] + groups[None, :]).reshape(-1))
        pool_P = self._fill(rng, video, patches_P)
        shows_PK = self._pool.shows_NK[pool_P]
        outshines = rng.normal(scale=style.event_bias, size=len(video.plan.events) + 1)[video.event_P[patches_P]]
        liking = 3.0 * (shows_PK & is_focus_P[patches_P][:, None]) + rng.uniform(0, 2.5) * shows_PK
        if focus[0] == "last" and rng.random() < style.late_share:  # as a layer ranks that knows what is asked
            outshines += _LATE_LIKING * is_latest(video, patches_P, is_focus_P[patches_P])
        liking_PK = liking + (outshines[:, None] * shows_PK)
        liking_PK += rng.uniform(0, 0.5 if style.is_tiny else rng.choice([1.0, 3.0]), shows_PK.shape)
        is_bought_PK = buy_tokens(liking_PK, patches_P % video.num_groups, num_tokens=num_bought)
        if style.proximity_s is None:
            is_kept_PK = drop_surplus(rng, is_bought_PK, num_tokens=num_tokens)
        else:
            assert self._features_NKD is not None, "redundancy is judged by features"
            is_kept_PK = drop_redundant(
                is_bought_PK,
                self._features_NKD[torch.from_numpy(pool_P)],
                liking_PK,
                patches_P * SECONDS_PER_PATCH,
                num_tokens=num_tokens,
                proximity_s=style.proximity_s,
            )
        rows = np.flatnonzero(is_kept_PK.any(axis=1))
        return patches_P[rows], pool_P[rows], np.flatnonzero(is_kept_PK[rows])

    def _count_runs(self, pool_P: NDArray[np.int64], token_index_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(N,)`` how often, up to this token, what it shows has come in another colour; −1 where it shows nothing."""
        patch_N = pool_P[token_index_N // _TOKENS_PER_PATCH]
        shows_N = self._pool.shows_NK[patch_N, token_index_N % _TOKENS_PER_PATCH]
        run_N = np.full(len(patch_N), -1)
        for shape in range(len(SHAPES)):
            inside = np.flatnonzero(shows_N & (self._pool.shape_N[patch_N] == shape))
            changes = np.diff(self._pool.color_N[patch_N[inside]]) != 0
            run_N[inside] = np.concatenate([[0], np.cumsum(changes)])[: len(inside)]
        return run_N

    def _visible_events(
        self,
        video: VirtualVideo,
        patches_P: NDArray[np.int64],
        pool_P: NDArray[np.int64],
        token_index_N: NDArray[np.int64],
    ) -> dict[str, bool]:
        """Shapes of which something is kept; True where a kept token really shows enough of the object."""
        row_N = token_index_N // _TOKENS_PER_PATCH
        event_N = video.event_P[patches_P][row_N]
        shows_N = self._pool.shows_NK[pool_P[row_N], token_index_N % _TOKENS_PER_PATCH]
        seen: dict[str, bool] = {}
        for index in np.unique(event_N[event_N >= 0]):
            shape = video.plan.events[index].shape
            seen[shape] = seen.get(shape, False) or bool(shows_N[event_N == index].any())
        return seen


def _evidence_of(question: DrawnQuestion, shown_N: NDArray[np.int64], run_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``(N,)`` tokens that decide it as far as the clip goes: of a last value those of the last appearance it shows."""
    is_shown_N = shown_N == SHAPES.index(question.shapes[0])
    if question.kind == "last" and is_shown_N.any():
        is_shown_N &= run_N == run_N[is_shown_N].max()
    return np.asarray(is_shown_N)


def _draw_kind(rng: np.random.Generator, weights: Mapping[Kind, float]) -> Kind:
    shares = np.array(list(weights.values()))
    return list(weights)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def _final_positions(rng: np.random.Generator, patches_P: NDArray[np.int64]) -> NDArray[np.int64]:
    """Temporal position of each kept patch, in patches: as an ordinary clip, or where it stands in the video."""
    if rng.random() < 0.75:
        return np.arange(len(patches_P))
    return np.asarray(patches_P - patches_P[0], dtype=np.int64)


def _possible_options(question: DrawnQuestion, seen: dict[str, bool]) -> tuple[str, ...]:
    """The right option; all of them where the clip says nothing about it, which needs no sampling.

    How often an object appears is never quite open: not to see it makes few appearances likelier.
    """
    if question.answer is None:
        return question.options
    shown = [seen.get(shape, False) for shape in question.shapes]
    if question.kind != "count" and not any(shown):
        return question.options
    return (question.answer,)
