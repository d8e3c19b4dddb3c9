"""Training examples: which patches and tokens stand in one clip, and what is asked about them.

A clip is shown once and asked several questions, each blind to the others, exactly as a group is scored.

Shape suffixes:
- N = visual tokens of a clip, Q = its questions, S = whole packed sequence
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.demo.scenes import COLORS, SHAPES
from pipeline.lab.demo_training.patches import TOKENS_PER_SIDE, PatchPool
from pipeline.lab.demo_training.question_text import FORM_WEIGHT, QuestionText, TextMaker, TokenTarget, join_questions

_COLOR_NAMES = tuple(COLORS)
_TOKENS_PER_PATCH = TOKENS_PER_SIDE**2


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipStyle:
    """What one batch of clips looks like."""

    num_patches: int
    num_tokens: int  # kept of num_patches * 4
    max_appearances: int
    max_patches_each: int
    max_gap: int  # temporal position step between patches, in patches; 1 = an ordinary clip
    open_share: float  # of questions answered in words
    lookup_share: float = 0.0  # of questions about the options alone ("Which option is red?"), a stepping stone


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One clip with its questions; text positions are relative to the end of the video."""

    patches: NDArray[np.int64]
    token_index_N: NDArray[np.int64]  # into patches * 4
    temporal_N: NDArray[np.int64]  # temporal position of each kept token
    text_ids: NDArray[np.int64]
    text_segment: NDArray[np.int64]  # 1.. per question
    text_offset: NDArray[np.int64]
    targets: tuple[TokenTarget, ...]
    shown_N: NDArray[np.int64]  # shape that each token shows; −1: none
    evidence_QN: NDArray[np.bool_]  # by question: tokens that show what decides it
    run_N: NDArray[np.int64] | None = None  # how often the shape that a token shows has appeared so far; −1: no shape
    beside_NR: NDArray[np.int64] | None = None  # kinds left of and above the object that a token shows; −1: none kept


class ExampleMaker:
    """Draws clips and questions from a pool."""

    def __init__(self, pool: PatchPool, text: TextMaker, *, num_questions: int) -> None:
        self._pool, self._text, self._num_questions = pool, text, num_questions
        self._background = np.flatnonzero(pool.appearance_N < 0)
        self._by_shape: list[list[NDArray[np.int64]]] = [[] for _ in SHAPES]
        order = np.argsort(pool.appearance_N, kind="stable")
        order = order[pool.appearance_N[order] >= 0]
        runs = np.split(order, np.flatnonzero(np.diff(pool.appearance_N[order])) + 1)
        for run in runs:
            self._by_shape[int(pool.shape_N[run[0]])].append(run)
        self._color_ids = tuple(text.encode(name)[0] for name in _COLOR_NAMES)

    def make(self, rng: np.random.Generator, style: ClipStyle) -> Example:
        """Draw one clip and ``num_questions`` questions about it."""
        patches, times = self._draw_patches(rng, style)
        kept = self._draw_tokens(rng, patches, style)
        colors = self._visible_colors(patches, kept)
        asked, parts = zip(*(self._draw_question(rng, colors, style) for _ in range(self._num_questions)), strict=True)
        text_ids, segment, offset, targets = join_questions(parts)
        shown_N = shown_shapes(self._pool, patches, kept)
        return Example(
            patches=patches,
            token_index_N=kept,
            temporal_N=times[kept // _TOKENS_PER_PATCH],
            text_ids=text_ids,
            text_segment=segment,
            text_offset=offset,
            targets=targets,
            shown_N=shown_N,
            evidence_QN=np.stack([(shown_N == shape) & (shape >= 0) for shape in asked]),
        )

    def _draw_patches(self, rng: np.random.Generator, style: ClipStyle) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Patches in temporal order, and their temporal positions in patches (an appearance stays together)."""
        count = int(rng.integers(0, style.max_appearances + 1))
        chosen: list[tuple[float, int]] = []
        for shape in rng.permutation(len(SHAPES))[:count]:
            runs = self._by_shape[shape]
            run = runs[int(rng.integers(len(runs)))]
            length = 1 if rng.random() < 0.5 else int(rng.integers(1, style.max_patches_each + 1))
            start, when = int(rng.integers(len(run))), rng.random()
            seen = [int(run[(start + step) % len(run)]) for step in range(length)]
            chosen += [(when + 1e-6 * step, patch) for step, patch in enumerate(seen)]
        chosen = chosen[: style.num_patches]
        fill = rng.choice(self._background, style.num_patches - len(chosen))
        chosen += [(rng.random(), int(patch)) for patch in fill]
        patches = np.array([patch for _, patch in sorted(chosen)])
        steps = rng.integers(1, style.max_gap + 1, size=style.num_patches)
        return patches, np.cumsum(steps) - steps[0]

    def _draw_tokens(self, rng: np.random.Generator, patches: NDArray[np.int64], style: ClipStyle) -> NDArray[np.int64]:
        """Which tokens stay: all, or a subset that may favour objects as attention rank does."""
        total = style.num_patches * _TOKENS_PER_PATCH
        if style.num_tokens == total:
            return np.arange(total)
        shows = self._pool.shows_NK[patches].reshape(-1)
        weight = 1.0 + shows * rng.choice([0.0, 3.0, 30.0])
        keys = rng.exponential(size=total) / weight
        return np.sort(np.argsort(keys, kind="stable")[: style.num_tokens])

    def _visible_colors(self, patches: NDArray[np.int64], kept: NDArray[np.int64]) -> dict[int, int | None]:
        """Shape -> colour where enough of it is kept; shape -> None where only its surroundings are."""
        colors: dict[int, int | None] = {}
        for token in kept:
            patch = patches[token // _TOKENS_PER_PATCH]
            shape = int(self._pool.shape_N[patch])
            if shape < 0:
                continue
            if self._pool.shows_NK[patch, token % _TOKENS_PER_PATCH]:
                colors[shape] = int(self._pool.color_N[patch])
            else:
                colors.setdefault(shape, None)
        return colors

    def _draw_question(
        self, rng: np.random.Generator, colors: dict[int, int | None], style: ClipStyle
    ) -> tuple[int, QuestionText]:
        """The shape asked about, −1 for none, and the question."""
        kind = rng.random()
        if kind < style.lookup_share:
            named = int(rng.integers(len(_COLOR_NAMES)))
            return -1, self._choice_question(rng, f"Which option is {_COLOR_NAMES[named]}?", named)
        visible = [shape for shape, color in colors.items() if color is not None]
        absent = [shape for shape in range(len(SHAPES)) if shape not in colors]
        is_present = bool(visible) and (not absent or rng.random() < 0.65)
        shape = int(rng.choice(visible if is_present else absent)) if is_present or absent else 0
        color = colors.get(shape)
        if kind < style.lookup_share + style.open_share:
            return shape, self._open_question(rng, SHAPES[shape], color)
        return shape, self._choice_question(rng, f"What color is the {SHAPES[shape]}?", color)

    def _choice_question(self, rng: np.random.Generator, question: str, color: int | None) -> QuestionText:
        right = int(rng.integers(len(_COLOR_NAMES))) if color is None else color
        wrong = rng.permutation([c for c in range(len(_COLOR_NAMES)) if c != right])[:3]
        options = tuple(_COLOR_NAMES[c] for c in rng.permutation([right, *wrong]))
        said = _COLOR_NAMES[right]
        return self._text.choice(question, options, said=said, possible=options if color is None else (said,))

    def _open_question(self, rng: np.random.Generator, shape: str, color: int | None) -> QuestionText:
        suffix = self._text.suffix(f"What color is the {shape}?", None)
        said = int(rng.integers(len(_COLOR_NAMES))) if color is None else color
        answer = self._text.encode(f"The {shape} is {_COLOR_NAMES[said]}.<|im_end|>")
        targets = []
        for step, token in enumerate(answer):
            is_color = token == self._color_ids[said]
            ids = self._color_ids if is_color and color is None else (token,)
            weight = 1.0 if is_color else FORM_WEIGHT
            targets.append(TokenTarget(position=len(suffix) - 1 + step, token_ids=ids, weight=weight))
        return QuestionText(token_ids=[*suffix, *answer[:-1]], targets=targets)


def shown_shapes(pool: PatchPool, pool_P: NDArray[np.int64], token_index_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(N,)`` shape that each token shows enough of; −1 for none."""
    patch_N = pool_P[token_index_N // _TOKENS_PER_PATCH]
    shows_N = pool.shows_NK[patch_N, token_index_N % _TOKENS_PER_PATCH]
    return np.asarray(np.where(shows_N, pool.shape_N[patch_N], -1), dtype=np.int64)
