"""The groups' vote as a prior of a final pass, where the selector wants one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.manifest.questions import Question, option_letter
from pipeline.method.selectors.adapttoken_vote import AdaptTokenVote
from pipeline.method.selectors.base import GroupScore, Selector
from pipeline.passes.records import FinalAnswer


def hear_groups(
    final: FinalAnswer, *, selector: Selector, prefix: Sequence[GroupScore], question: Question
) -> FinalAnswer:
    """The answer as it is, but for ``adapttoken-vote``: the likeliest option after the groups were heard.

    ``answer_text`` and ``answer_entropy`` stay the final pass's: the vote of groups that see nothing is one-sided by
    chance, and an entropy with it would no longer tell questions that nothing answers.
    """
    if not isinstance(selector, AdaptTokenVote) or final.option_probabilities is None or question.options is None:
        return final
    letters = [option_letter(index) for index in range(len(question.options))]
    weighed = selector.weigh(final.option_probabilities, prefix, letters)
    return replace(
        final,
        answer=letters[int(np.argmax(weighed))],
        option_probabilities=weighed,
    )
