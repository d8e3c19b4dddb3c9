"""One question about one video as the plain loop asks and answers it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.manifest.questions import Question
from pipeline.method.evidence import EvidenceSpan
from pipeline.method.selectors.base import GroupScore, IntArray
from pipeline.passes.records import FinalAnswer

Asked = str | tuple[str, Sequence[str]] | Question
"""An open question, a question with its options, or one of a manifest."""


@dataclass(kw_only=True, slots=True, eq=False)
class VideoAnswer:
    """One question about one video, and how it was answered.

    Attributes:
        scores: of the groups that counted, in visiting order; ``bought``: tokens that each of them sold.
        has_stopped: whether enough groups agreed before all were visited.
    """

    question: Question
    num_groups: int
    scores: list[GroupScore] = field(default_factory=list)
    bought: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    has_stopped: bool = False
    final: FinalAnswer | None = None
    warnings: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The option's letter, or the text of an open answer."""
        assert self.final is not None
        return self.final.answer

    @property
    def entropy(self) -> float:
        """Nats; 0 is certain."""
        assert self.final is not None
        return self.final.answer_entropy

    @property
    def evidence(self) -> tuple[EvidenceSpan, ...]:
        """Spans of presentation time by falling weight."""
        assert self.final is not None
        return self.final.evidence


def to_question(asked: Asked, path: str, number: int) -> Question:
    """As a manifest would have it."""
    if isinstance(asked, Question):
        return asked
    text, options = (asked, None) if isinstance(asked, str) else (asked[0], tuple(asked[1]))
    return Question(question_id=str(number), video=path, text=text, options=options, row_index=number)
