"""What the model is asked: one wording for all methods of a run, group passes and final pass alike."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from string import ascii_uppercase
from typing import Any

from pipeline.models.prompt_styles import word
from pipeline.models.rendering import Surroundings, surroundings_of

_PRIVATE_USE = range(0xE000, 0xF900)  # characters that Unicode leaves without a meaning


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """Token ids around the visual tokens. The prefix never depends on the question.

    Sequence: ``prefix_ids``, the visual tokens, ``suffix_ids``, then the response.
    """

    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]


def question_text(question: str, options: Sequence[str] | None, *, style: str = "plain") -> str:
    """The user's text: the question, and for multiple choice one line per option and the instruction of the style.

    Raises:
        ValueError: If there are more options than letters.
    """
    return question if options is None else word(question, options, style)


def render_around_video(
    tokenizer: Any, *, video_token: str, question: str, options: Sequence[str] | None
) -> tuple[str, str]:
    """What the checkpoint's own chat template writes before and after the video, with the text after it.

    A template that can let the model think is told not to (``enable_thinking``); others do not read that.

    Raises:
        ValueError: As ``surroundings_of``, if the template is of no use.
    """
    return surroundings_of(tokenizer, video_token=video_token).around(question_text(question, options))


def build_prompt(
    tokenizer: Any,
    *,
    video_token: str,
    question: str,
    options: Sequence[str] | None,
    surroundings: Surroundings | None = None,
    style: str = "plain",
) -> Prompt:
    """Token ids on both sides of the video token in the checkpoint's own chat template.

    What looks like a control token in the question or an option is text: it goes through the template as a mark that
    nothing else in the text looks like, and is encoded letter by letter. All other text is encoded in one piece.

    Args:
        tokenizer: of the checkpoint.
        video_token: where the chat template puts a video.
        question: of the user.
        options: of multiple choice.
        surroundings: what the template writes; None: it is asked.
        style: how multiple choice is worded.

    Raises:
        ValueError: As ``question_text`` and ``render_around_video``; also if the tokenizer cannot encode such a text.
    """
    text = question_text(question, options, style=style)
    controls = _control_pattern(tokenizer, video_token)
    mark = next(mark for mark in map(chr, _PRIVATE_USE) if mark not in text)
    before, after = (surroundings or surroundings_of(tokenizer, video_token=video_token)).around(
        controls.sub(mark, text)
    )
    pieces = [tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in after.split(mark)]
    literals = [_encode_as_text(tokenizer, control) for control in controls.findall(text)]
    assert len(pieces) == len(literals) + 1, "the chat template repeats or drops the question"
    return Prompt(
        prefix_ids=tuple(tokenizer(before, add_special_tokens=False)["input_ids"]),
        suffix_ids=tuple(chain.from_iterable(chain.from_iterable(zip_longest(pieces, literals, fillvalue=())))),
    )


def _control_pattern(tokenizer: Any, video_token: str) -> re.Pattern[str]:
    """The names of control tokens; the longest where several start at one place."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    names = sorted({video_token, *special}, key=lambda name: (-len(name), name))
    return re.compile("|".join(map(re.escape, names)))


def _encode_as_text(tokenizer: Any, control: str) -> list[int]:
    """Token ids of a control token's name.

    Raises:
        ValueError: If the tokenizer has no other way to write it than the control token.
    """
    ids: list[int] = tokenizer(control, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    control_id = tokenizer.convert_tokens_to_ids(control)
    if control_id in ids and control_id != tokenizer.unk_token_id:
        raise ValueError(f"the model's tokenizer cannot read {control!r} as text; write it in another way")
    return ids


def letter_ids(tokenizer: Any, *, num_options: int) -> tuple[int, ...]:
    """Token id of each option's letter, as the first token of a response.

    Raises:
        ValueError: If the checkpoint's tokenizer has no token of its own for one of the letters.
    """
    ids = []
    for letter in ascii_uppercase[:num_options]:
        encoded = tokenizer(letter, add_special_tokens=False)["input_ids"]
        if len(encoded) != 1 or encoded[0] == tokenizer.unk_token_id:
            raise ValueError(
                f"the tokenizer has no single token for the option letter {letter!r}; ask with fewer than "
                f"{num_options} options, or as an open question (without options)"
            )
        ids.append(int(encoded[0]))
    return tuple(ids)
