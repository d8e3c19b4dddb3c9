"""lmms-eval's shared rule since April 2026: every place where a letter might be the answer is ranked, the best wins.

Of one rank the later place wins. Only capitals count, in words too: "A man walks in, so the answer is C" reads A.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from pipeline.evaluation.scoring.readings import NOTHING, Reading

_OUTER_MARKS = ",.!?;:'\""

_VERBS = ("i choose", "i select", "i pick")
_NOUNS = (
    *("the answer", "answer", "the correct answer", "correct answer", "the best answer", "best answer"),
    *("the correct option", "correct option", "the best option", "best option"),
    *("the choice", "choice", "the correct choice", "correct choice", "my answer", "my choice"),
)
_OTHER_LANGUAGES = ("옵션", "정답은", "답은", "답:", "답은", "答案是", "答案为", "选", "答えは")
ANNOUNCEMENTS = tuple(dict.fromkeys((*_VERBS, *(f"{noun} is" for noun in _NOUNS), *_OTHER_LANGUAGES)))


class Rank(IntEnum):
    """How much a place is trusted."""

    ANYWHERE = 0
    SPACE = 2
    BRACKET = 3
    COLON = 4
    STOP = 5
    BRACKETS = 6
    ANNOUNCED = 7
    END = 9
    START = 10


_FORMS = (
    (Rank.BRACKETS, "({})"),
    (Rank.STOP, "{}."),
    (Rank.COLON, "{}:"),
    (Rank.BRACKET, "{})"),
    (Rank.SPACE, "{} "),
)


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """One candidate; ordered by rank, then by how late it stands."""

    rank: Rank
    position: int
    letter: str


def read_ranked(response: str, *, letters: str) -> Reading:
    """The letter at the most trusted place.

    Args:
        response: raw; outer punctuation is taken off first.
        letters: that may be an answer, such as ``ABCD``.
    """
    bare = response.strip()
    for mark in _OUTER_MARKS:
        bare = bare.strip(mark)
    if not response.strip():
        return NOTHING
    text = f" {bare} "
    places = [*_formed(text, letters), *_announced(text, letters), *_at_the_edges(text, letters)]
    if not places:
        places = [_Place(Rank.ANYWHERE, text.rfind(letter), letter) for letter in letters if letter in text]
    if not places:
        return NOTHING
    best = max(places)
    return Reading(best.letter, best.rank.name.lower())


def _formed(text: str, letters: str) -> Iterator[_Place]:
    """The last place of every letter in every form."""
    for rank, form in _FORMS:
        for letter in letters:
            position = text.rfind(form.format(letter))
            if position >= 0:
                yield _Place(rank, position, letter)


def _announced(text: str, letters: str) -> Iterator[_Place]:
    """Behind the first place of every announcement the first place of every letter, however far behind."""
    lowered = text.lower()
    for announcement in ANNOUNCEMENTS:
        start = lowered.find(announcement)
        if start < 0:
            continue
        for letter in letters:
            position = text.find(letter, start + len(announcement))
            if position >= 0:
                yield _Place(Rank.ANNOUNCED, position, letter)


def _at_the_edges(text: str, letters: str) -> Iterator[_Place]:
    """A letter at the very start or end that is no part of a word."""
    bare = text.strip()
    for letter in letters:
        if bare.startswith(letter) and not bare[1:2].isalpha():
            yield _Place(Rank.START, 0, letter)
        if bare.endswith(letter) and not bare[-2:-1].isalpha():
            yield _Place(Rank.END, len(text) - 1, letter)
