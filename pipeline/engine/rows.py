"""From a finished video to its result rows: one per question, costs that questions share split evenly."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from pipeline.engine.one_video.question_state import QuestionState
from pipeline.engine.one_video.video_state import VideoState
from pipeline.manifest.questions import Question
from pipeline.method.selectors.base import GroupScore, IntArray
from pipeline.passes.token_record import unpack_tokens
from pipeline.planning.video_plan import VideoPlan
from pipeline.planning.video_warnings import warn_about, warn_about_letters
from pipeline.results.keys import key_of_version
from pipeline.results.rows import (
    EvidenceRow,
    GroupRow,
    KeptTokens,
    QuestionResult,
    RunStamp,
    asked_columns,
    failed_result,
)


def build_rows(video: VideoState, *, stamp: RunStamp, finished_at: datetime) -> list[QuestionResult]:
    """Rows in manifest order, under the keys of the version that they are about."""
    task, keys = video.task, video.task.question_keys
    if video.found is not None:
        rekey = partial(key_of_version, fingerprint=task.fingerprint, found=video.found, config_hash=stamp.config_hash)
        keys = tuple(map(rekey, task.questions, keys))
    return [
        _build_row(video, question, state, key, stamp=stamp, finished_at=finished_at)
        for question, state, key in zip(task.questions, video.questions, keys, strict=True)
    ]


def _build_row(
    video: VideoState,
    question: Question,
    state: QuestionState,
    key: str,
    *,
    stamp: RunStamp,
    finished_at: datetime,
) -> QuestionResult:
    known = _known_of_video(video, state, stamp)
    if state.answer is None:
        assert state.failure is not None
        row = failed_result(question, state.failure, question_key=key, stamp=stamp, finished_at=finished_at)
        return replace(row, **known)
    answer, needs_scores = state.answer, video.selector.needs_scores
    return QuestionResult(
        **asked_columns(question),
        question_key=key,
        status="ok",
        answer=answer.answer,
        answer_text=answer.answer_text,
        option_probabilities=answer.option_probabilities,
        answer_entropy=answer.answer_entropy,
        evidence=tuple(
            EvidenceRow(start_s=span.start_s, end_s=span.end_s, weight=span.weight, num_tokens=span.num_tokens)
            for span in answer.evidence
        ),
        kept_tokens=kept_tokens(video.plan, answer.tokens),
        groups=group_rows(state.prefix, _bought(state), answer.kept) if needs_scores else (),
        num_groups_scored=len(state.prefix) if needs_scores else 0,
        num_groups_wasted=state.num_wasted,
        stop_reason=state.stop_reason,
        num_tokens_offered=sum(score.num_tokens for score in state.prefix),
        num_tokens_kept=sum(answer.kept.values()),
        model=stamp.model,
        model_revision=stamp.model_revision,
        method=stamp.method,
        config_hash=stamp.config_hash,
        prompt_style=stamp.prompt_style,
        run_id=stamp.run_id,
        finished_at=finished_at,
        **known,
    )


def _known_of_video(video: VideoState, state: QuestionState, stamp: RunStamp) -> dict[str, Any]:
    """Columns that do not depend on whether there is an answer; a failed question has its share of the cost too."""
    seconds = video.spent.seconds.scaled(1 / len(video.questions)) + state.seconds
    columns: dict[str, Any] = {
        "warnings": _warnings(video, state, stamp),
        "attempts": 1 + video.faults.num_redone,
        "memory_rung": state.memory_rung,
        "video_fingerprint": video.fingerprint,
        "decoder": "+".join(sorted(video.spent.decoders)) or None,
        "sandbox": ", ".join(sorted(video.spent.sandboxes)) or None,
        "video_num_frames_decoded": video.spent.num_frames_decoded,
        "video_num_decode_passes": 0 if video.planned is None else video.planned.frames.num_passes_started,
        "video_num_groups_encoded": video.spent.num_groups_encoded,
        "video_num_groups_prefilled": video.spent.num_groups_prefilled,
        **asdict(seconds),
        "total_s": seconds.total_s,
    }
    if video.plan is not None:
        columns["num_groups"] = len(video.plan.groups)
        columns["num_sampled_frames"] = video.plan.sample.num_frames
        columns["duration_s"] = video.plan.probe.duration_s
        columns["num_token_rows"] = video.plan.geometry.token_rows
        columns["num_token_columns"] = video.plan.geometry.token_columns
    return columns


def kept_tokens(plan: VideoPlan | None, packed: bytes) -> KeptTokens | None:
    """Tokens by time instead of patch, with the group that each comes from."""
    tokens = unpack_tokens(packed)
    if plan is None or not len(tokens):
        return None
    group_of_patch = np.zeros(len(plan.patch_times_s), dtype=np.int64)
    for patches, group_index in zip(plan.groups, plan.group_indices, strict=True):
        group_of_patch[patches] = group_index
    rows, columns = np.divmod(tokens["token"], plan.geometry.token_columns)
    return KeptTokens(
        start_s=tuple(plan.patch_times_s[tokens["patch"]].tolist()),
        group_index=tuple(group_of_patch[tokens["patch"]].tolist()),
        token_row=tuple(rows.tolist()),
        token_column=tuple(columns.tolist()),
        weight=tuple(tokens["weight"].tolist()),
    )


def group_rows(scores: Sequence[GroupScore], bought: IntArray, kept: Mapping[int, int]) -> tuple[GroupRow, ...]:
    """Of the groups that counted, in visiting order: what each sold, and what of it remained by position."""
    return tuple(
        GroupRow(
            group_index=score.group_index,
            entropy=score.entropy,
            certainty=score.certainty,
            response=score.response,
            num_tokens_offered=score.num_tokens,
            num_tokens_bought=int(bought[position]),
            num_tokens_kept=kept.get(position, 0),
        )
        for position, score in enumerate(scores)
    )


def _bought(state: QuestionState) -> IntArray:
    assert state.bought is not None
    return state.bought


def _warnings(video: VideoState, state: QuestionState, stamp: RunStamp) -> tuple[str, ...]:
    """About the model for this video, the frames that count for this question, its answer; none where it failed.

    How many frames count for a question that failed hangs on what came first.
    """
    if video.planned is None or state.answer is None:
        return ()
    planned, num_groups = video.planned, len(state.prefix)
    about_video = warn_about(
        planned.plan,
        planned.bad_frames,
        num_groups=num_groups,
        is_demo_model=stamp.is_demo_model,
        is_by_nvdec="nvdec" in video.spent.decoders,
    )
    return about_video + warn_about_letters(state.answer.letter_share)
