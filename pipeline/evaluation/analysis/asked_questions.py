"""Rows of a run as records for analyses: what every group said about a question, what was answered, what is true.

Shape suffix: G = groups that counted, in visiting order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.evaluation.scoring.answers import expected_of, references_of
from pipeline.method.stopping import GroupVote, normalize_response

_COLUMNS = (
    *("question_id", "question_key", "video", "options", "status", "answer", "groups", "num_groups"),
    *("num_sampled_frames", "duration_s", "model", "model_revision", "method", "config_hash"),
    *("expected", "kind", "needle_start_s", "needle_end_s", "time_reference", "reference_start_s", "reference_end_s"),
)
CHOICE, OPEN = "choice", "open"

_Record = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a row was answered with."""

    model: str
    model_revision: str
    method: str
    config_hash: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AskedQuestion:
    """One answered question.

    Attributes:
        kind: of the manifest; else whether it is multiple choice or open.
        expected: letter, or a word of the right answer; None where nobody knows, or where there is no answer.
        votes: what each group that counted said.
        group_index_G: the groups' numbers in time.
        num_groups: groups planned.
        references: ``(start_s, end_s)`` of what decides the answer; None where nothing says.
    """

    question_id: str
    question_key: str
    video: str
    kind: str
    is_choice: bool
    expected: str | None
    answer: str
    votes: tuple[GroupVote, ...]
    group_index_G: npt.NDArray[np.int64]
    num_groups: int
    num_frames: int
    duration_s: float
    references: tuple[tuple[float, float], ...] | None
    settings: Settings

    @property
    def has_all_groups(self) -> bool:
        """Whether every planned group was scored, so that any early stop can be replayed."""
        return len(self.votes) == self.num_groups > 0

    def is_right(self, response: str) -> bool | None:
        """Whether a response, of a group or final, is the right answer; None where nobody knows.

        Multiple choice: the letter. Open: the expected word is one of its words.
        """
        if self.expected is None:
            return None
        if self.is_choice:
            return response == self.expected
        return normalize_response(self.expected) in normalize_response(response).split()

    def says_the_same(self, response: str) -> bool:
        """Whether a response equals the run's answer, as the early stop compares them."""
        return normalize_response(response) == normalize_response(self.answer)


def read_questions(table: pa.Table) -> list[AskedQuestion]:
    """The answered rows of a table as ``read_answers`` gives it; failed rows say nothing and are left out."""
    wanted = [name for name in _COLUMNS if name in table.column_names]
    records = cast(list[_Record], table.select(wanted).to_pylist())
    return [_question(record) for record in records if record["status"] == "ok"]


def _question(row: _Record) -> AskedQuestion:
    groups = cast("Sequence[_Record]", row.get("groups") or ())
    options = row.get("options")
    return AskedQuestion(
        question_id=str(row["question_id"]),
        question_key=str(row["question_key"]),
        video=str(row["video"]),
        kind=str(row.get("kind") or (CHOICE if options else OPEN)),
        is_choice=bool(options),
        expected=expected_of(row),
        answer=str(row["answer"]),
        votes=tuple(
            GroupVote(entropy=cast(float, group["entropy"]), response=str(group["response"])) for group in groups
        ),
        group_index_G=np.array([group["group_index"] for group in groups], dtype=np.int64),
        num_groups=cast(int, row["num_groups"]),
        num_frames=cast(int, row["num_sampled_frames"]),
        duration_s=cast(float, row["duration_s"]),
        references=references_of(row),
        settings=Settings(
            model=str(row["model"]),
            model_revision=str(row["model_revision"]),
            method=str(row["method"]),
            config_hash=str(row["config_hash"]),
        ),
    )
