"""One question's result as a record. How it becomes a Parquet row is in ``schema``."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pipeline.failures import Failure, FailureClass
from pipeline.manifest.questions import Question

SCHEMA_VERSION = 1

VOLATILE_COLUMNS = frozenset(
    {
        *("decode_s", "encode_s", "prefill_s", "score_s", "scorer_wait_s", "answer_s", "total_s"),
        *("video_num_frames_decoded", "video_num_decode_passes", "video_num_groups_encoded"),
        *("video_num_groups_prefilled", "num_groups_wasted", "attempts", "num_runs"),
        *("run_id", "finished_at"),
    }
)
"""What load, arrival order and the number of workers may change; all other columns are the same in every run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceRow:
    """Half-open span ``[start_s, end_s)`` of presentation time whose tokens reached the final pass.

    Attributes:
        weight: Share of the final pass's attention at the reference layer, in [0, 1].
    """

    start_s: float
    end_s: float
    weight: float
    num_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupRow:
    """What one group of frames contributed; entropy and certainty in nats."""

    group_index: int
    entropy: float
    certainty: float
    response: str
    num_tokens_offered: int
    num_tokens_bought: int
    num_tokens_kept: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptTokens:
    """Tokens of the final pass in temporal, row, column order; parallel tuples, as there may be thousands.

    Attributes:
        start_s: Presentation time at which the token's temporal patch starts.
        group_index: Group that sold it.
        token_row: Place within the patch's grid of ``num_token_rows`` by ``num_token_columns``; with ``token_column``.
        weight: Share of the final pass's attention, in [0, 1], to 8 significant bits.
    """

    start_s: tuple[float, ...]
    group_index: tuple[int, ...]
    token_row: tuple[int, ...]
    token_column: tuple[int, ...]
    weight: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStamp:
    """What all rows of one run have in common.

    Attributes:
        prompt_style: how multiple choice was worded.
        is_demo_model: whether the project's toy model answers, under whatever name.
    """

    run_id: str
    method: str
    model: str
    model_revision: str | None
    config_hash: str
    is_demo_model: bool = False
    prompt_style: str = "plain"


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionResult:
    """One row of the results; units and meaning of each column are in ``schema.ANSWERS_SCHEMA``.

    Stage seconds are this question's even share of what the questions of its video spent together.
    """

    question_id: str
    question_key: str
    video: str
    question: str
    options: tuple[str, ...] | None
    asked_id: str | None = None
    asked_start_s: float | None = None
    asked_end_s: float | None = None
    status: Literal["ok", "failed"]
    error_class: FailureClass | None = None
    error_message: str | None = None
    warnings: tuple[str, ...] = ()
    attempts: int = 1
    num_runs: int = 1
    answer: str | None = None
    answer_text: str | None = None
    option_probabilities: tuple[float, ...] | None = None
    answer_entropy: float | None = None
    evidence: tuple[EvidenceRow, ...] = ()
    kept_tokens: KeptTokens | None = None
    groups: tuple[GroupRow, ...] = ()
    num_groups: int | None = None
    num_groups_scored: int = 0
    num_groups_wasted: int = 0
    stop_reason: str | None = None
    num_sampled_frames: int | None = None
    num_tokens_offered: int | None = None
    num_tokens_kept: int | None = None
    num_token_rows: int | None = None
    num_token_columns: int | None = None
    duration_s: float | None = None
    decoder: str | None = None
    sandbox: str | None = None
    memory_rung: int | None = None
    video_num_frames_decoded: int = 0
    video_num_decode_passes: int = 0
    video_num_groups_encoded: int = 0
    video_num_groups_prefilled: int = 0
    decode_s: float = 0.0
    encode_s: float = 0.0
    prefill_s: float = 0.0
    score_s: float = 0.0
    scorer_wait_s: float = 0.0
    answer_s: float = 0.0
    total_s: float = 0.0
    model: str
    model_revision: str | None
    method: str
    config_hash: str
    prompt_style: str | None = None
    video_fingerprint: str | None
    schema_version: int = SCHEMA_VERSION
    run_id: str
    finished_at: datetime

    def __post_init__(self) -> None:
        if self.status == "ok" and (self.answer is None or self.error_class is not None):
            raise ValueError(
                f"an 'ok' row needs an answer and no error_class, got {self.answer=} {self.error_class=}: "
                "use failed_result for failures"
            )
        if self.status == "failed" and (self.error_class is None or not self.error_message):
            raise ValueError(
                f"a 'failed' row needs error_class and error_message, got {self.error_class=} {self.error_message=}"
            )
        if self.status not in ("ok", "failed"):
            raise ValueError(f"status must be 'ok' or 'failed', got {self.status!r}")
        if self.finished_at.tzinfo is None:
            raise ValueError(f"finished_at needs a time zone, got {self.finished_at!r}: use datetime.now(UTC)")


def asked_columns(question: Question) -> dict[str, Any]:
    """What a row says of its question, as fields of `QuestionResult`."""
    span = question.time_range
    return {
        "question_id": question.question_id,
        "video": question.video,
        "question": question.text,
        "options": question.options,
        "asked_id": question.asked_id,
        "asked_start_s": None if span is None else span.start_s,
        "asked_end_s": None if span is None else span.end_s,
    }


def failed_result(
    question: Question,
    failure: Failure,
    *,
    question_key: str,
    stamp: RunStamp,
    finished_at: datetime,
    attempts: int = 1,
    video_fingerprint: str | None = None,
    warnings: tuple[str, ...] = (),
) -> QuestionResult:
    """The row of a question that could not be answered; add what else is known with ``dataclasses.replace``."""
    return QuestionResult(
        **asked_columns(question),
        question_key=question_key,
        status="failed",
        error_class=failure.failure_class,
        error_message=failure.message or failure.failure_class.value,
        warnings=warnings,
        attempts=attempts,
        model=stamp.model,
        model_revision=stamp.model_revision,
        method=stamp.method,
        config_hash=stamp.config_hash,
        prompt_style=stamp.prompt_style,
        video_fingerprint=video_fingerprint,
        run_id=stamp.run_id,
        finished_at=finished_at,
    )
