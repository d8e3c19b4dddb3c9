"""When a question needs no further group (AdaptToken-Lite): a pure function of the visiting order."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# A point, comma, colon, slash or minus straight before a digit belongs to the number: 1.5 is not 15.
_NUMBER_MARK = re.compile(r"[.,:/\-](?=\d)")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupVote:
    """What one group says: its response, and the response's entropy in nats."""

    entropy: float
    response: str


@lru_cache(maxsize=4_096)  # a question asks this of the same few responses again and again
def normalize_response(text: str) -> str:
    """Case-fold, strip punctuation and collapse white space, so that equal answers compare equal.

    ``"  The RED car! " -> "the red car"``. Marks inside numbers stay.
    """
    folded = text.casefold()
    kept = (
        character
        for index, character in enumerate(folded)
        if not unicodedata.category(character).startswith("P") or _NUMBER_MARK.match(folded, index)
    )
    return " ".join("".join(kept).split())


def find_stop(votes: Sequence[GroupVote], *, confident_groups: int, stop_entropy: float) -> int | None:
    """Length of the shortest prefix in which enough confident groups agree; None while there is none.

    A vote is confident at ``entropy <= stop_entropy`` nats. A response without a word agrees with nothing.

    Args:
        votes: one per group, in visiting order without gaps.
        confident_groups: confident votes with the same normalized response that it takes.
        stop_entropy: nats; transfers neither between models nor from multiple choice to open questions.

    Raises:
        ValueError: ``confident_groups`` is below 1.
    """
    if confident_groups < 1:
        raise ValueError(f"confident_groups must be at least 1, got {confident_groups}")
    supporters: Counter[str] = Counter()
    for length, vote in enumerate(votes, start=1):
        response = normalize_response(vote.response)
        if not response or not vote.entropy <= stop_entropy:
            continue
        supporters[response] += 1
        if supporters[response] == confident_groups:
            return length
    return None
