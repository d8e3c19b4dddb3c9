"""What a scorer is given and what it makes of it."""

from dataclasses import dataclass

UNPARSED = "unparsed"


@dataclass(frozen=True, kw_only=True, slots=True)
class RawAnswer:
    """One answer of a model to a question with options.

    Attributes:
        text: raw response.
        options: texts without letters.
        choice: letter of the most probable option.
        benchmark: name, or empty for an archive.
    """

    question_id: str
    text: str
    options: tuple[str, ...]
    choice: str | None = None
    benchmark: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """The letter that a rule reads in a response, or None; and which part of the rule it was."""

    letter: str | None
    parsed_by: str


NOTHING = Reading(None, UNPARSED)
