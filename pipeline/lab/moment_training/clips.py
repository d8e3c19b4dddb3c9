"""Training clips: what one group, or a final pass over tokens of many groups, shows of a world, and questions about it.

The label is what is true of the whole world, so a clip that shows half of the evidence teaches how sure half makes; a
clip that shows nothing of it wants all options alike.

Shape suffixes:
- P = temporal patches of a clip, K = visual tokens of a patch, N = visual tokens that are kept
- Q = questions, M = moments of the world, R = sides (left of, above)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.lab.demo_training.examples import Example
from pipeline.lab.demo_training.question_text import FORM_WEIGHT, QuestionText, TextMaker, TokenTarget, join_questions
from pipeline.lab.moment_training.clip_styles import ViewStyle
from pipeline.lab.moment_training.pictures import SIGN
from pipeline.lab.moment_training.pool import Pool
from pipeline.lab.moment_training.worlds import World, WorldMaker
from pipeline.lab.moments.kinds import KINDS_OF_OBJECT
from pipeline.lab.moments.plan import COLOR_NAMES, MOST_APPEARANCES, Story
from pipeline.lab.moments.questions import KINDS, Asked, Kind, ask, subjects_of
from pipeline.lab.moments.sprites import GLYPHS

_WEIGHT: dict[Kind, float] = {
    **{"needle": 1.0, "order": 1.2, "last": 1.2, "count": 0.7, "scene": 1.6, "detail": 1.0, "twice": 1.5},
    **{"absent": 0.4, "no_scene": 0.3, "no_sign": 0.25},
}
_IN_VIEW_TRIES = 4  # so often another subject is drawn if nothing of it is in view
_NO_MOMENT = -1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _View:
    """The kept part of a clip."""

    pool_P: NDArray[np.int64]
    moment_P: NDArray[np.int64]
    kept_N: NDArray[np.int64]  # into patches * K
    temporal_N: NDArray[np.int64]


class ClipMaker:
    """Draws worlds, clips of them and questions, from one pool."""

    def __init__(self, pool: Pool, text: TextMaker, *, num_questions: int) -> None:
        self._pool, self._text, self._num_questions = pool, text, num_questions
        self._worlds = WorldMaker(pool)
        self._end_id = text.encode("<|im_end|>")[0]

    def make(self, rng: np.random.Generator, style: ViewStyle, *, kinds: Sequence[Kind] = KINDS) -> Example:
        """One clip with ``num_questions`` questions, of these kinds only."""
        world = self._draw_world(rng, kinds)
        if style.view == "group":
            view, focus = self._draw_group(rng, world, style), None
        else:
            focus = self._draw_question(rng, world, kinds, None)
            view = self._draw_final(rng, world, style, focus)
        seen_M = set(view.moment_P[np.unique(view.kept_N // self._pool.grid.num_tokens)].tolist())
        asked: list[Asked | None] = []
        for number in range(self._num_questions):
            if rng.random() < style.lookup_share:
                asked.append(None)
            elif focus is not None and number < self._num_questions // 2:
                again = ask(rng, world.story, focus.kind, focus.subject) if number else focus
                asked.append(again)
            else:
                asked.append(self._draw_question(rng, world, kinds, seen_M))
        return self._example(rng, world, style, view, asked)

    def _example(
        self, rng: np.random.Generator, world: World, style: ViewStyle, view: _View, asked: list[Asked | None]
    ) -> Example:
        num_tokens = self._pool.grid.num_tokens
        patch_N, place_N = view.kept_N // num_tokens, view.kept_N % num_tokens
        shown_N = self._pool.kind_NK[view.pool_P[patch_N], place_N].astype(np.int64)
        moment_N = view.moment_P[patch_N]
        evidence, parts = [], []
        for question in asked:
            if question is None:
                evidence.append(np.zeros(len(shown_N), dtype=bool))
                parts.append(self._lookup(rng))
                continue
            evidence.append(self._evidence(world, question, shown_N, moment_N))
            parts.append(self._word(rng, question, style, is_seen=bool(evidence[-1].any())))
        text_ids, segment, offset, targets = join_questions(parts)
        return Example(
            patches=view.pool_P,
            token_index_N=view.kept_N,
            temporal_N=view.temporal_N,
            text_ids=text_ids,
            text_segment=segment,
            text_offset=offset,
            targets=targets,
            shown_N=shown_N,
            evidence_QN=np.stack(evidence),
            run_N=_runs(shown_N, moment_N),
            beside_NR=self._beside(world, view, shown_N),
        )

    def _draw_group(self, rng: np.random.Generator, world: World, style: ViewStyle) -> _View:
        """Moments in their order on some of the patches; the others show a backdrop."""
        most = max(1, style.num_patches - 1) if style.num_patches > 2 else style.num_patches
        visible = [m for m in range(len(world.pictures)) if rng.random() < style.visible_share]
        if len(visible) > most:
            visible = sorted(rng.permutation(visible)[:most].tolist())
        places = np.sort(rng.permutation(style.num_patches)[: len(visible)])
        moment_P = np.full(style.num_patches, _NO_MOMENT)
        moment_P[places] = visible
        pool_P = self._fill(rng, world, moment_P)
        tokens = self._pool.grid.num_tokens
        kept_N = np.arange(style.num_patches * tokens)
        return _View(pool_P=pool_P, moment_P=moment_P, kept_N=kept_N, temporal_N=kept_N // tokens)

    def _fill(self, rng: np.random.Generator, world: World, moment_P: NDArray[np.int64]) -> NDArray[np.int64]:
        """A picture for each patch; a moment keeps its picture."""
        pool_P = rng.choice(self._worlds.background, len(moment_P))
        for moment in np.unique(moment_P[moment_P >= 0]):
            pool_P[moment_P == moment] = rng.choice(world.pictures[moment])
        return pool_P

    def _draw_final(self, rng: np.random.Generator, world: World, style: ViewStyle, focus: Asked) -> _View:
        """The best-liked tokens of the moments in view, as a ranking with some noise would leave them."""
        needed = {moment.start_frame for moment in focus.evidence}
        moments: list[int] = []
        for moment in range(len(world.pictures)):
            share = 1 - style.missing_share if moment in needed else style.visible_share
            if rng.random() < share:
                moments += [moment] * int(rng.integers(1, style.most_patches_each + 1))
        tokens = self._pool.grid.num_tokens
        fewest = -(-style.num_tokens // tokens)
        blanks = max(style.num_patches, fewest - len(moments))
        moment_P = np.array(moments + [_NO_MOMENT] * blanks)
        order = np.argsort(
            np.where(moment_P >= 0, moment_P, rng.uniform(0, len(world.pictures), len(moment_P))), kind="stable"
        )
        moment_P = moment_P[order]
        pool_P = self._fill(rng, world, moment_P)
        shown_PK = self._pool.kind_NK[pool_P].astype(np.int64)
        flat_moment = np.repeat(moment_P, tokens)
        is_evidence = self._evidence(world, focus, shown_PK.reshape(-1), flat_moment)
        liking = 3.0 * is_evidence + rng.uniform(0, 2.5) * (shown_PK.reshape(-1) >= 0)
        liking += rng.uniform(0, rng.choice([0.7, 1.5, 4.0]), len(liking))
        for moment in np.unique(moment_P[moment_P >= 0]):
            inside = flat_moment == moment
            is_dropped = rng.random(len(liking)) >= rng.choice(style.thinning)
            liking[inside & is_dropped] -= 10.0
        kept_N = np.sort(np.argsort(-liking, kind="stable")[: style.num_tokens])
        patch_N = kept_N // tokens
        compact = np.unique(patch_N, return_inverse=True)[1]
        gaps = np.cumsum(rng.integers(1, 200, len(moment_P)))
        temporal_N = compact if rng.random() < 0.85 else gaps[patch_N] - gaps[patch_N[0]]
        return _View(pool_P=pool_P, moment_P=moment_P, kept_N=kept_N, temporal_N=temporal_N)

    def _draw_world(self, rng: np.random.Generator, kinds: Sequence[Kind]) -> World:
        """The first one that something can be asked about."""
        while True:
            world = self._worlds.draw(rng)
            if _askable(world.story, kinds):
                return world

    def _draw_question(
        self, rng: np.random.Generator, world: World, wanted: Sequence[Kind], seen_M: set[int] | None
    ) -> Asked:
        """Any question, mostly one of which something is in view."""
        story = world.story
        kinds = _askable(story, wanted)
        weights = np.array([_WEIGHT[kind] for kind in kinds])
        for _ in range(_IN_VIEW_TRIES):
            kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
            subjects = subjects_of(story, kind)
            question = ask(rng, story, kind, subjects[int(rng.integers(len(subjects)))])
            if seen_M is None or not question.evidence or any(m.start_frame in seen_M for m in question.evidence):
                break
            if rng.random() < 0.25:
                break
        return question

    def _evidence(
        self, world: World, question: Asked, shown_N: NDArray[np.int64], moment_N: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """``(N,)`` tokens that a reader of the question has to see: of scenes the subject and what the options name."""
        if question.kind in ("detail", "no_sign"):
            wanted = [SIGN]
        elif question.kind in ("scene", "twice"):
            wanted = [KINDS_OF_OBJECT.index(name) for name in (*question.needed, *question.options)]
        else:
            wanted = [KINDS_OF_OBJECT.index(question.subject)]
        inside = np.isin(moment_N, [moment.start_frame for moment in question.evidence])
        shows = inside & np.isin(shown_N, wanted)
        if question.kind in ("scene", "twice") and not (shows & (shown_N == wanted[0])).any():
            return np.zeros(len(shown_N), dtype=bool)  # without the subject nothing tells which scene it is
        if question.kind == "last":  # of the last value: what is seen of the last appearance in view
            all_of = np.isin(shown_N, wanted) & (moment_N >= 0)
            return np.asarray(all_of & (moment_N == moment_N[all_of].max())) if all_of.any() else shows
        return np.asarray(shows)

    def _word(self, rng: np.random.Generator, question: Asked, style: ViewStyle, *, is_seen: bool) -> QuestionText:
        answer = question.answer or question.options[0]
        is_certain = question.answer is not None and (is_seen or question.kind == "count")
        if rng.random() < style.open_share and is_certain:
            return self._open(question, answer)
        return self._text.choice(
            question.text, question.options, said=answer, possible=(answer,) if is_certain else question.options
        )

    def _open(self, question: Asked, answer: str) -> QuestionText:
        """A sentence about a colour, else the word alone."""
        suffix = self._text.suffix(question.text, None)
        words = f"The {question.subject} is {answer}." if question.kind == "needle" else answer
        ids = self._text.encode(f"{words}<|im_end|>")
        wanted = self._text.encode(answer)[0]
        return QuestionText(
            token_ids=[*suffix, *ids[:-1]],
            targets=[
                TokenTarget(
                    position=len(suffix) - 1 + step, token_ids=(token,), weight=1.0 if token == wanted else FORM_WEIGHT
                )
                for step, token in enumerate(ids)
            ],
        )

    def _lookup(self, rng: np.random.Generator) -> QuestionText:
        numbers = tuple(str(number) for number in range(1, MOST_APPEARANCES + 1))
        names = (COLOR_NAMES, KINDS_OF_OBJECT, GLYPHS, numbers)[int(rng.integers(4))]
        options = tuple(str(name) for name in rng.permutation(names)[:4])
        said = options[int(rng.integers(4))]
        return self._text.choice(f"Which option is {said}?", options, said=said, possible=(said,))

    def _beside(self, world: World, view: _View, shown_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(N, R)`` kinds left of and above what a token shows, as far as tokens of them are kept; −1 else."""
        pool, tokens = self._pool, self._pool.grid.num_tokens
        patch_N = view.kept_N // tokens
        thing_N = pool.thing_NK[view.pool_P[patch_N], view.kept_N % tokens]
        beside = np.full((len(shown_N), 2), -1)
        for patch in np.unique(patch_N[thing_N > 0]):
            picture, inside = view.pool_P[patch], np.flatnonzero(patch_N == patch)
            things = pool.thing_NTC[picture]
            kept = set(thing_N[inside].tolist())
            at = {(row, column): index for index, (kind, _, row, column) in enumerate(things.tolist()) if kind >= 0}
            for number in inside[thing_N[inside] >= 0]:
                row, column = things[thing_N[number], 2:]
                for side, place in enumerate(((row, column - 1), (row - 1, column))):
                    other = at.get((int(place[0]), int(place[1])), -1)
                    if other in kept and other >= 0:
                        beside[number, side] = things[other, 0]
        return beside


def _askable(story: Story, kinds: Sequence[Kind]) -> list[Kind]:
    """Those of the kinds that the story has a subject for."""
    kinds = [kind for kind in kinds if kind != "count" or story.kinds_of["needle"]]
    return [kind for kind in kinds if subjects_of(story, kind)]


def _runs(shown_N: NDArray[np.int64], moment_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(N,)`` in how many earlier moments in view the kind of each token was seen; −1 where it shows nothing."""
    run_N = np.full(len(shown_N), -1)
    for kind in np.unique(shown_N[(shown_N >= 0) & (shown_N != SIGN)]):
        inside = shown_N == kind
        run_N[inside] = np.unique(moment_N[inside], return_inverse=True)[1]
    return run_N
