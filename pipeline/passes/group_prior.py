"""The groups' say in a final answer, where the selector gives them one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import Question, option_letter
from pipeline.method.selectors.base import GroupHearing, GroupScore, Selector
from pipeline.passes.records import FinalAnswer


def hear_groups(
    final: FinalAnswer, *, selector: Selector, prefix: Sequence[GroupScore], question: Question
) -> FinalAnswer:
    """The answer as it is, but for a selector that is a ``GroupHearing``: the likeliest option by what it says.

    ``answer_text`` and ``answer_entropy`` stay the final pass's: the vote of groups that see nothing is one-sided by
    chance, and an entropy with it would no longer tell questions that nothing answers.

    Raises:
        PipelineError: ``INTERNAL``: a selector's ``weigh`` returns no probabilities.
    """
    if final.option_probabilities is None or question.options is None or not isinstance(selector, GroupHearing):
        return final
    letters = [option_letter(index) for index in range(len(question.options))]
    weighed = _check(selector.weigh(final.option_probabilities, prefix, letters), selector.name, len(letters))
    return replace(
        final,
        answer=letters[int(np.argmax(weighed))],
        option_probabilities=weighed,
    )


def _check(weighed: Sequence[float], method: str, num_options: int) -> tuple[float, ...]:
    """A plug-in's numbers go into rows: they have to be what the column says."""
    found = np.asarray(weighed, dtype=np.float64)
    if found.shape != (num_options,) or not np.all(found >= 0) or not np.isclose(found.sum(), 1.0, atol=1e-3):
        raise PipelineError(
            FailureClass.INTERNAL,
            f"weigh of method {method!r} must return {num_options} probabilities that sum to 1, got {weighed!r}; "
            "correct the package that offers the method",
        )
    return tuple(found.tolist())
