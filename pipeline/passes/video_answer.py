"""One question about one video as the plain loop asks and answers it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.manifest.questions import Question
from pipeline.method.evidence import EvidenceSpan
from pipeline.method.selectors.base import GroupScore, IntArray
from pipeline.passes.records import FinalAnswer
from pipeline.planning.question_transcript import ask_with_transcript
from pipeline.planning.transcripts import load_transcript
from pipeline.planning.video_plan import VideoPlan

Asked = str | tuple[str, Sequence[str]] | Question
"""An open question, a question with its options, or one of a manifest."""


@dataclass(kw_only=True, slots=True, eq=False)
class VideoAnswer:
    """One question about one video, and how it was answered.

    Attributes:
        asked: the question as the model is asked it, behind the lines of its transcript.
        scores: of the groups that counted, in visiting order; ``bought``: tokens that each of them sold, and
            ``by_patch`` those of each of its patches, where they are not simply its best ones.
        has_stopped: whether enough groups agreed before all were visited.
    """

    question: Question
    asked: Question
    num_groups: int
    scores: list[GroupScore] = field(default_factory=list)
    bought: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    by_patch: tuple[IntArray, ...] | None = None
    has_stopped: bool = False
    final: FinalAnswer | None = None
    warnings: tuple[str, ...] = ()

    def patches_of(self, position: int) -> IntArray | None:
        """Tokens of each patch of a group that was sold by patches."""
        return None if self.by_patch is None else self.by_patch[position]

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


def to_questions(asked: Sequence[Asked], path: str, *, transcript: str | None = None) -> tuple[Question, ...]:
    """As a manifest would have them; a transcript is text, or the path of a file, for all that have none of their own.

    Raises:
        PipelineError: The transcript cannot be read.
        ValueError: One cannot be asked, by the rules of a manifest; names it.
    """
    if isinstance(asked, str):
        raise ValueError(f"questions must be a list, got one text: write [{asked!r}]")
    questions = [_to_question(one, path, number) for number, one in enumerate(asked)]
    if transcript is None:
        return tuple(questions)
    found = load_transcript(transcript)
    return tuple(replace(one, transcript=found) if one.transcript is None else one for one in questions)


def begin_answer(question: Question, plan: VideoPlan) -> VideoAnswer:
    """Before the first group."""
    return VideoAnswer(question=question, asked=ask_with_transcript(question, plan), num_groups=len(plan.groups))


def _to_question(asked: Asked, path: str, number: int) -> Question:
    if isinstance(asked, Question):
        return asked
    text, options = (asked, None) if isinstance(asked, str) else (asked[0], asked[1])
    if not text.strip():
        raise ValueError(f"question {number} has no text")
    if isinstance(options, str) or (options is not None and len(options) < 2):
        raise ValueError(f"question {number}: options must be a list of at least two, or left out, got {options!r}")
    chosen = None if options is None else tuple(options)
    return Question(question_id=str(number), video=path, text=text, options=chosen, row_index=number)
