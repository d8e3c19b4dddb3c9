"""An answer without a final pass: what the groups' own responses say together."""

import math
from collections.abc import Sequence

from pipeline.manifest.questions import Question, option_letter
from pipeline.method.selectors.base import GroupScore, Selector
from pipeline.method.selectors.group_vote import GroupVoting
from pipeline.method.stopping import normalize_response
from pipeline.passes.records import FinalAnswer


def answer_by_vote(selector: Selector, prefix: Sequence[GroupScore], question: Question) -> FinalAnswer:
    """The vote of a ``GroupVoting`` as if a final pass had given it; no token is kept, and there is no evidence."""
    assert isinstance(selector, GroupVoting), f"{selector.name} needs a final pass"
    options = question.options
    voted = selector.vote(prefix, num_options=None if options is None else len(options))
    known = [score.letter_share for score in prefix if score.letter_share is not None]
    letters = None if options is None else [normalize_response(option_letter(i)) for i in range(len(options))]
    return FinalAnswer(
        answer=voted.response,
        answer_text=voted.response,
        option_probabilities=None if letters is None else tuple(voted.shares.get(letter, 0.0) for letter in letters),
        answer_entropy=voted.entropy,
        evidence=(),
        tokens=b"",
        kept={},
        letter_share=math.fsum(known) / len(known) if known else None,
    )
