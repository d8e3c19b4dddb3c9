"""What the model is asked: one wording for all methods, group passes and final pass alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from jinja2 import TemplateError

LETTER_INSTRUCTION = "Answer with the option's letter from the given choices directly."
# A template is a small program of the checkpoint; this is how one ends that was written for other messages.
_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """Token ids around the visual tokens. The prefix never depends on the question.

    Sequence: ``prefix_ids``, the visual tokens, ``suffix_ids``, then the response.
    """

    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]


def question_text(question: str, options: Sequence[str] | None) -> str:
    """The user's text: the question, and for multiple choice one ``A. …`` line per option and the instruction.

    Raises:
        ValueError: If there are more options than letters.
    """
    if options is None:
        return question
    if len(options) > len(ascii_uppercase):
        raise ValueError(
            f"a question may have at most {len(ascii_uppercase)} options, got {len(options)}: {question!r}"
        )
    lines = [f"{ascii_uppercase[index]}. {option}" for index, option in enumerate(options)]
    return "\n".join([question, *lines, LETTER_INSTRUCTION])


def render_around_video(
    tokenizer: Any, *, video_token: str, question: str, options: Sequence[str] | None
) -> tuple[str, str]:
    """Render the checkpoint's own chat template with the video before the text: what stands before and after it.

    Raises:
        ValueError: If the question contains the video token, or the template drops it or fails.
    """
    messages = [
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": question_text(question, options)}]}
    ]
    try:
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except _TEMPLATE_ERRORS as error:
        raise ValueError(
            f"the chat template fails ({type(error).__name__}: {error}), as a text model's does; put the vision "
            "model's own chat_template.jinja or chat_template.json into the checkpoint"
        ) from error
    if rendered.count(video_token) != 1:
        raise ValueError(
            f"the rendered prompt must hold {video_token!r} exactly once, it does {rendered.count(video_token)} times; "
            f"the question must not contain it, and the chat template must be the vision model's own "
            f"(chat_template.jinja or chat_template.json), not a text model's: {question!r}"
        )
    before, after = rendered.split(video_token)
    return before, after


def build_prompt(tokenizer: Any, *, video_token: str, question: str, options: Sequence[str] | None) -> Prompt:
    """Token ids on both sides of the video token in the checkpoint's own chat template.

    Raises:
        ValueError: As ``render_around_video``.
    """
    before, after = render_around_video(tokenizer, video_token=video_token, question=question, options=options)
    return Prompt(
        prefix_ids=tuple(tokenizer(before, add_special_tokens=False)["input_ids"]),
        suffix_ids=tuple(tokenizer(after, add_special_tokens=False)["input_ids"]),
    )


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


def option_letter(index: int) -> str:
    """``0 -> A``, ``1 -> B``, and so on."""
    return ascii_uppercase[index]
