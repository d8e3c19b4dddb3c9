"""From a finished video to its result rows: one per question, costs that questions share split evenly."""

from dataclasses import fields
from datetime import datetime

from pipeline.engine.question_state import QuestionState
from pipeline.engine.video_state import VideoState, add_seconds
from pipeline.engine.work import StageSeconds
from pipeline.manifest import Question
from pipeline.results.rows import EvidenceRow, GroupRow, QuestionResult, RunStamp, failed_result


def build_rows(video: VideoState, *, stamp: RunStamp, finished_at: datetime) -> list[QuestionResult]:
    """Rows in manifest order."""
    return [
        _build_row(video, question, state, key, stamp=stamp, finished_at=finished_at)
        for question, state, key in zip(
            video.task.questions, video.questions, video.task.question_keys, strict=True
        )
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
    if state.answer is None or video.plan is None:
        assert state.failure is not None
        return failed_result(
            question,
            state.failure,
            question_key=key,
            stamp=stamp,
            finished_at=finished_at,
            attempts=video.attempt,
            video_fingerprint=video.task.fingerprint,
            warnings=_warnings(video),
        )
    answer, plan = state.answer, video.plan
    seconds = _question_seconds(video, state)
    return QuestionResult(
        question_id=question.question_id,
        question_key=key,
        video=question.video,
        question=question.text,
        options=question.options,
        status="ok",
        warnings=_warnings(video),
        attempts=video.attempt,
        answer=answer.answer,
        answer_text=answer.answer_text,
        option_probabilities=answer.option_probabilities,
        answer_entropy=answer.answer_entropy,
        evidence=tuple(
            EvidenceRow(start_s=span.start_s, end_s=span.end_s, weight=span.weight, num_tokens=span.num_tokens)
            for span in answer.evidence
        ),
        groups=_group_rows(state) if video.selector.needs_scores else (),
        num_groups=len(plan.groups),
        num_groups_scored=len(state.prefix) if video.selector.needs_scores else 0,
        num_groups_wasted=state.num_wasted,
        stop_reason=state.stop_reason,
        num_sampled_frames=plan.sample.num_frames,
        num_tokens_offered=plan.num_tokens_offered,
        num_tokens_kept=sum(answer.kept.values()),
        duration_s=plan.probe.duration_s,
        decoder="+".join(sorted(video.decoders)),
        video_num_frames_decoded=video.num_frames_decoded,
        video_num_decode_passes=video.num_passes_started,
        video_num_groups_encoded=video.num_groups_encoded,
        video_num_groups_prefilled=video.num_groups_prefilled,
        **{f.name: getattr(seconds, f.name) for f in fields(StageSeconds)},
        total_s=sum(getattr(seconds, f.name) for f in fields(StageSeconds)),
        model=stamp.model,
        model_revision=stamp.model_revision,
        method=stamp.method,
        config_hash=stamp.config_hash,
        video_fingerprint=video.task.fingerprint,
        run_id=stamp.run_id,
        finished_at=finished_at,
    )


def _group_rows(state: QuestionState) -> tuple[GroupRow, ...]:
    assert state.bought is not None and state.answer is not None
    return tuple(
        GroupRow(
            group_index=score.group_index,
            entropy=score.entropy,
            certainty=score.certainty,
            response=score.response,
            num_tokens_offered=score.num_tokens,
            num_tokens_bought=int(state.bought[position]),
            num_tokens_kept=state.answer.kept.get(position, 0),
        )
        for position, score in enumerate(state.prefix)
    )


def _warnings(video: VideoState) -> tuple[str, ...]:
    if video.plan is None or not video.num_bad_frames:
        return ()
    return (
        f"{video.num_bad_frames} of {video.plan.sample.num_frames} wanted frames could not be decoded; "
        "a neighbouring frame stands in for each",
    )


def _question_seconds(video: VideoState, state: QuestionState) -> StageSeconds:
    share = 1 / len(video.questions)
    shared = StageSeconds(**{f.name: getattr(video.seconds, f.name) * share for f in fields(StageSeconds)})
    return add_seconds(shared, state.seconds)
