"""Training examples: which patches and tokens stand in one clip, and what is asked about them.

A clip is shown once and asked several questions, each blind to the others, exactly as a group is scored.

Shape suffixes:
- N = visual tokens of a clip, S = whole packed sequence
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.demo.patches import TOKENS_PER_SIDE, PatchPool
from pipeline.demo.scenes import COLORS, SHAPES
from pipeline.demo.vocabulary import LETTERS
from pipeline.models.prompt import Prompt, build_prompt

_COLOR_NAMES = tuple(COLORS)
_TOKENS_PER_PATCH = TOKENS_PER_SIDE**2
_FORM_WEIGHT = 0.15  # loss weight of tokens that only depend on the form of the answer


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
class Target:
    """The distribution wanted at one sequence position."""

    position: int
    token_ids: tuple[int, ...]  # equally likely; one id = a sure answer
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One clip with its questions; text positions are relative to the end of the video."""

    patches: NDArray[np.int64]
    token_index_N: NDArray[np.int64]  # into patches * 4
    temporal_N: NDArray[np.int64]  # temporal position of each kept token
    text_ids: NDArray[np.int64]
    text_segment: NDArray[np.int64]  # 1.. per question
    text_offset: NDArray[np.int64]
    targets: tuple[Target, ...]


class ExampleMaker:
    """Draws clips and questions from a pool."""

    def __init__(self, pool: PatchPool, tokenizer: object, *, num_questions: int) -> None:
        self._pool, self._tokenizer = pool, tokenizer
        self._num_questions = num_questions
        self._background = np.flatnonzero(pool.appearance_N < 0)
        self._by_shape: list[list[NDArray[np.int64]]] = [[] for _ in SHAPES]
        order = np.argsort(pool.appearance_N, kind="stable")
        order = order[pool.appearance_N[order] >= 0]
        runs = np.split(order, np.flatnonzero(np.diff(pool.appearance_N[order])) + 1)
        for run in runs:
            self._by_shape[int(pool.shape_N[run[0]])].append(run)
        self._ids = {word: self._encode(word)[0] for word in (*_COLOR_NAMES, *LETTERS)}
        self._cache: dict[tuple[str, tuple[str, ...] | None], tuple[int, ...]] = {}
        self.prefix_ids = self._prompt("What color is the star?", None).prefix_ids

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[operator, no-any-return]

    def _prompt(self, question: str, options: tuple[str, ...] | None) -> Prompt:
        return build_prompt(self._tokenizer, video_token="<|video_pad|>", question=question, options=options)

    def make(self, rng: np.random.Generator, style: ClipStyle) -> Example:
        """Draw one clip and ``num_questions`` questions about it."""
        patches, times = self._draw_patches(rng, style)
        kept = self._draw_tokens(rng, patches, style)
        colors = self._visible_colors(patches, kept)
        text_ids: list[int] = []
        segment: list[int] = []
        offset: list[int] = []
        targets: list[Target] = []
        for number in range(1, self._num_questions + 1):
            ids, wanted = self._draw_question(rng, colors, style)
            targets += [
                Target(position=len(text_ids) + t.position, token_ids=t.token_ids, weight=t.weight) for t in wanted
            ]
            text_ids += ids
            segment += [number] * len(ids)
            offset += range(len(ids))
        return Example(
            patches=patches,
            token_index_N=kept,
            temporal_N=times[kept // _TOKENS_PER_PATCH],
            text_ids=np.array(text_ids),
            text_segment=np.array(segment),
            text_offset=np.array(offset),
            targets=tuple(targets),
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
    ) -> tuple[list[int], list[Target]]:
        kind = rng.random()
        if kind < style.lookup_share:
            named = int(rng.integers(len(_COLOR_NAMES)))
            return self._choice_question(rng, f"Which option is {_COLOR_NAMES[named]}?", named)
        visible = [shape for shape, color in colors.items() if color is not None]
        absent = [shape for shape in range(len(SHAPES)) if shape not in colors]
        is_present = bool(visible) and (not absent or rng.random() < 0.65)
        shape = int(rng.choice(visible if is_present else absent)) if is_present or absent else 0
        color = colors.get(shape)
        if kind < style.lookup_share + style.open_share:
            return self._open_question(rng, SHAPES[shape], color)
        return self._choice_question(rng, f"What color is the {SHAPES[shape]}?", color)

    def _suffix(self, question: str, options: tuple[str, ...] | None) -> tuple[int, ...]:
        key = (question, options)
        if key not in self._cache:
            self._cache[key] = self._prompt(question, options).suffix_ids
        return self._cache[key]

    def _choice_question(
        self, rng: np.random.Generator, question: str, color: int | None
    ) -> tuple[list[int], list[Target]]:
        right = int(rng.integers(len(_COLOR_NAMES))) if color is None else color
        wrong = rng.permutation([c for c in range(len(_COLOR_NAMES)) if c != right])[:3]
        options = tuple(_COLOR_NAMES[c] for c in rng.permutation([right, *wrong]))
        suffix = list(self._suffix(question, options))
        letters = [self._ids[letter] for letter in LETTERS[: len(options)]]
        answer = letters[options.index(_COLOR_NAMES[right])]
        wanted = (answer,) if color is not None else tuple(letters)
        end = self._encode("<|im_end|>")[0]
        last = len(suffix) - 1
        return [*suffix, answer], [
            Target(position=last, token_ids=wanted, weight=1.0),
            Target(position=last + 1, token_ids=(end,), weight=_FORM_WEIGHT),
        ]

    def _open_question(self, rng: np.random.Generator, shape: str, color: int | None) -> tuple[list[int], list[Target]]:
        suffix = list(self._suffix(f"What color is the {shape}?", None))
        said = _COLOR_NAMES[int(rng.integers(len(_COLOR_NAMES))) if color is None else color]
        answer = self._encode(f"The {shape} is {said}.<|im_end|>")
        any_color = tuple(self._ids[name] for name in _COLOR_NAMES)
        targets = []
        for step, token in enumerate(answer):
            is_color = token == self._ids[said]
            ids = any_color if is_color and color is None else (token,)
            weight = 1.0 if is_color else _FORM_WEIGHT
            targets.append(Target(position=len(suffix) - 1 + step, token_ids=ids, weight=weight))
        return [*suffix, *answer[:-1]], targets
