"""Token ids of questions and answers, and what the model should say at each of them.

Shape suffix: S = tokens of all questions of a clip, one after the other
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.lab.demo_training.vocabulary import LETTERS
from pipeline.models.prompt import Prompt, build_prompt
from pipeline.models.prompt_styles import LETTER_INSTRUCTION

FORM_WEIGHT = 0.15  # loss weight of tokens that only depend on the form of the answer


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenTarget:
    """The distribution wanted at one sequence position."""

    position: int
    token_ids: tuple[int, ...]  # equally likely; one id = a sure answer
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionText:
    """One question with its answer; target positions count from its own first token."""

    token_ids: list[int]
    targets: list[TokenTarget]


class TextMaker:
    """Turns questions into token ids, as the model is asked."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._open_suffix: dict[str, tuple[int, ...]] = {}
        self._ids_of: dict[str, tuple[int, ...]] = {}
        self._letter_ids = [self.encode(letter)[0] for letter in LETTERS]
        self._end_id = self.encode("<|im_end|>")[0]
        self.prefix_ids = self._prompt("What color is the star?", None).prefix_ids

    def encode(self, text: str) -> list[int]:
        """Token ids of a text without a template."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def suffix(self, question: str, options: tuple[str, ...] | None) -> tuple[int, ...]:
        """What follows the video: question, options, the turn of the assistant.

        Put together of pieces, because a template per question was a fifth of a training step; words are tokens, so
        pieces of text give pieces of ids.
        """
        if question not in self._open_suffix:
            self._open_suffix[question] = self._prompt(question, None).suffix_ids
        whole = self._open_suffix[question]
        if options is None:
            return whole
        lines = [self._pieces(f"{LETTERS[index]}. {option}") for index, option in enumerate(options)]
        turn = len(self._pieces("<|im_end|>\n<|im_start|>assistant\n"))
        return (*whole[:-turn], *chain(*lines), *self._pieces(LETTER_INSTRUCTION), *whole[-turn:])

    def _pieces(self, text: str) -> tuple[int, ...]:
        if text not in self._ids_of:
            self._ids_of[text] = tuple(self.encode(text))
        return self._ids_of[text]

    def _prompt(self, question: str, options: tuple[str, ...] | None) -> Prompt:
        return build_prompt(self._tokenizer, video_token="<|video_pad|>", question=question, options=options)

    def choice(self, question: str, options: tuple[str, ...], *, said: str, possible: Sequence[str]) -> QuestionText:
        """A question answered with the letter of the option ``said``; any ``possible`` one would be as good."""
        suffix = self.suffix(question, options)
        letters = [self._letter_ids[options.index(option)] for option in sorted(possible, key=options.index)]
        last = len(suffix) - 1
        return QuestionText(
            token_ids=[*suffix, self._letter_ids[options.index(said)]],
            targets=[
                TokenTarget(position=last, token_ids=tuple(letters), weight=1.0),
                TokenTarget(position=last + 1, token_ids=(self._end_id,), weight=FORM_WEIGHT),
            ],
        )


def join_questions(
    parts: Sequence[QuestionText],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], tuple[TokenTarget, ...]]:
    """Questions side by side.

    Returns:
        ``(S,)`` token ids; ``(S,)`` number of the question each belongs to, from 1; ``(S,)`` place within it; targets.
    """
    lengths = [len(part.token_ids) for part in parts]
    starts = np.cumsum(lengths) - lengths
    targets = [
        replace(target, position=int(start) + target.position)
        for start, part in zip(starts, parts, strict=True)
        for target in part.targets
    ]
    return (
        np.concatenate([part.token_ids for part in parts]),
        np.repeat(np.arange(1, len(parts) + 1), lengths),
        np.concatenate([np.arange(length) for length in lengths]),
        tuple(targets),
    )
