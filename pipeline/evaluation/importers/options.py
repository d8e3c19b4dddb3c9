"""Answer options out of annotation texts: without letters, out of a question that carries them, and the right one's."""

import re
from collections import Counter
from collections.abc import Sequence
from string import ascii_uppercase

from pipeline.evaluation.importers.annotations import AnnotationRow
from pipeline.evaluation.importers.records import Reason, Remark
from pipeline.manifest.questions import BLANK_OPTION

_PREFIX = re.compile(r"\s*\(?([A-Z])[.):]\s*(\S.*)", re.DOTALL)
_LINE = re.compile(r"\n[ \t]*\(([A-Z])\)[ \t]*")


def strip_letters(options: Sequence[str]) -> tuple[str, ...]:
    """Options without the letters they carry, if every one carries its own.

    Example: ``["A. Apples.", "B. Candles."] -> ("Apples.", "Candles.")``; ``["A. x", "y"]`` stays.
    """
    matches = [_PREFIX.fullmatch(option) for option in options]
    bare = [match[2] for match, letter in zip(matches, ascii_uppercase, strict=False) if match and match[1] == letter]
    return tuple(text.strip() for text in (bare if len(bare) == len(options) else options))


def split_question(text: str) -> tuple[str, tuple[str, ...]] | None:
    r"""Part a question from the options on the lines below it, or None when they are not (A), (B), … in turn.

    Example: ``"Who?\n(A) Ann\n(B) Bob" -> ("Who?", ("Ann", "Bob"))``.
    """
    stem, *pieces = _LINE.split(text)
    letters, options = pieces[0::2], tuple(option.strip() for option in pieces[1::2])
    if len(options) < 2 or letters != list(ascii_uppercase[: len(letters)]) or not stem.strip():
        return None
    return stem.strip(), options


def are_usable(options: Sequence[str]) -> bool:
    """Whether a manifest can hold them: 2 to 26, not all of them blank."""
    return 2 <= len(options) <= len(ascii_uppercase) and any(option.strip() for option in options)


def fill_blanks(options: Sequence[str]) -> tuple[str, ...]:
    """As a manifest holds them: one without text is a mark, which is asked as nothing."""
    return tuple(option if option.strip() else BLANK_OPTION for option in options)


def repeated_options(options: Sequence[str]) -> list[str]:
    """The texts that stand among the options more than once."""
    return [text for text, count in Counter(options).items() if count > 1]


def letter_of_text(answer: str, options: Sequence[str]) -> str | None:
    """Letter of the last option that reads like ``answer``: equal, else equal but for case, spaces and a full stop."""
    for same in (lambda a, b: a == b, lambda a, b: _normalize(a) == _normalize(b)):
        places = [index for index, option in enumerate(options) if same(option, answer)]
        if places:
            return ascii_uppercase[places[-1]]
    return None


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


def check_letter(answer: str | None, options: Sequence[str]) -> str | None:
    """An annotated letter, if it is one of the options'; ``(B)`` and ``B.`` are B."""
    bare = (answer or "").strip().strip("().:").upper()
    return bare if len(bare) == 1 and bare in ascii_uppercase[: len(options)] else None


def check_question(
    row: AnnotationRow, options: Sequence[str], expected: str | None, *, answer: str | None, shown: str
) -> Remark | None:
    """Why a question has to be left out, or None.

    Args:
        row: where it stands.
        options: texts without letters.
        expected: the right letter, None where ``answer`` does not lead to one.
        answer: as annotated, None for a secret one.
        shown: the part of the annotation that tells people what its options look like.
    """
    if not are_usable(options):
        return Remark(where=row.where, reason=Reason.UNREADABLE_OPTIONS, detail=shown[:80])
    if answer is not None and expected is None:
        return Remark(where=row.where, reason=Reason.ANSWER_NOT_OFFERED, detail=answer)
    return None


def describe_options(
    options: Sequence[str], expected: str | None, *, answer: str | None
) -> tuple[tuple[Reason, str], ...]:
    """What to remark on a question that is kept: equal options, no known answer."""
    blank = [letter for letter, option in zip(ascii_uppercase, options, strict=False) if not option.strip()]
    return (
        *_describe_repeats(options, expected),
        *([(Reason.BLANK_OPTION, ", ".join(blank))] if blank else []),
        *([(Reason.NO_TRUTH, "")] if answer is None else []),
    )


def _describe_repeats(options: Sequence[str], expected: str | None) -> tuple[tuple[Reason, str], ...]:
    """What to remark on equal options, worse if the right one is among them."""
    repeated = repeated_options(options)
    if not repeated:
        return ()
    is_answer = expected is not None and options[ascii_uppercase.index(expected)] in repeated
    return ((Reason.ANSWER_REPEATED if is_answer else Reason.REPEATED_OPTIONS, "; ".join(repeated)),)
