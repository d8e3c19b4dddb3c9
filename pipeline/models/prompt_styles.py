"""How multiple choice is worded: ours, and as each benchmark's published set-up words it."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from types import MappingProxyType
from typing import NamedTuple

from pipeline.manifest.questions import BLANK_OPTION

LETTER_INSTRUCTION = "Answer with the option's letter from the given choices directly."


class PromptStyle(NamedTuple):
    """One wording.

    Attributes:
        before: instruction before the question, ``after`` behind the options; empty: none.
        option: one line, of ``letter`` and ``text``.
        opening: what the response is made to begin with.
    """

    before: str = ""
    option: str = "{letter}. {text}"
    after: str = ""
    opening: str = ""


STYLES: Mapping[str, PromptStyle] = MappingProxyType(
    {
        "plain": PromptStyle(after=LETTER_INSTRUCTION),  # LongVideoBench's own wording
        "videomme": PromptStyle(
            before=(
                "Select the best answer to the following multiple-choice question based on the video. "
                "Respond with only the letter of the correct option."
            ),
            after="The best answer is:",
        ),
        "lvbench": PromptStyle(option="({letter}) {text}", after="Answer the question with the option letter"),
        "mlvu": PromptStyle(option="({letter}) {text}", after="Only give the best option.", opening="Best option: ("),
    }
)


def word(question: str, options: Sequence[str], style: str) -> str:
    """The user's text.

    Raises:
        ValueError: There are more options than letters, or no such style.
    """
    if len(options) > len(ascii_uppercase):
        raise ValueError(
            f"a question may have at most {len(ascii_uppercase)} options, got {len(options)}: letters end there; "
            "ask with fewer options, or as an open question (without options)"
        )
    wording = style_of(style)
    lines = [
        wording.option.format(letter=letter, text=option.replace(BLANK_OPTION, "")).rstrip()
        for letter, option in zip(ascii_uppercase, options, strict=False)
    ]
    before, after = ([text] if text else [] for text in (wording.before, wording.after))
    return "\n".join([*before, question, *lines, *after])


def style_of(name: str) -> PromptStyle:
    """The wording of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in STYLES:
        raise ValueError(f"scoring.prompt_style must be one of {', '.join(STYLES)}, got {name!r}")
    return STYLES[name]
