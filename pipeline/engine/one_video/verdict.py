"""Carries out what ``blame`` decides about a failed piece of work, on the video that it belongs to."""

from collections.abc import Set as AbstractSet

from pipeline.engine.messages.work import WorkKey
from pipeline.engine.one_video.blame import (
    MOST_LOSSES,
    Remedy,
    for_question,
    for_reading,
    for_scoring_together,
    is_unblamed,
)
from pipeline.engine.one_video.question_state import Phase
from pipeline.engine.one_video.recovery import fail_open, lose_candidates, put_back, restart_scoring, trim
from pipeline.engine.one_video.video_state import VideoState
from pipeline.failures import Failure, FailureClass

_FELLED_ALIKE = 2  # questions asked alone whose turns only kill: then it is the video's fault, not theirs


def take_failure(
    video: VideoState, key: WorkKey, failure: Failure, *, worker: str, max_attempts: int, lost: AbstractSet[str]
) -> None:
    """A worker reports that a piece failed: it is put back, and what that means is carried out."""
    put_back(video, key, lost=lost, has_lost_input=is_unblamed(failure))
    if key.stage == "gather":  # what cannot be handed out is as good as lost
        wants = video.questions[key.index].wants
        lose_candidates(video, [p for p, holder in video.holder.items() if holder == worker and wants(p)])
    trim(video)
    if is_unblamed(failure):
        excuse(video, failure)
    else:
        video.shunned.add(worker)
        punish(video, key, failure, is_death=False, max_attempts=max_attempts, lost=lost)


def excuse(video: VideoState, failure: Failure) -> None:
    """Something was lost through no fault of the video's; it is done again, but not for ever."""
    video.num_losses += 1
    video.num_redone += 1
    if video.num_losses > MOST_LOSSES:
        fail_open(video, failure)


def punish(
    video: VideoState, key: WorkKey, failure: Failure, *, is_death: bool, max_attempts: int, lost: AbstractSet[str]
) -> None:
    """A piece failed, or killed its worker; it has been put back already.

    Args:
        video: the piece's.
        key: the piece.
        failure: what the rows say if this is the end.
        is_death: the worker died of it.
        max_attempts: of the configuration.
        lost: workers that are gone.
    """
    if key.stage == "probe" or key.stage.startswith("decode"):
        video.reading_strikes += 1
        if for_reading(failure, strikes=video.reading_strikes, max_attempts=max_attempts) is Remedy.FAIL_VIDEO:
            fail_open(video, failure)
        else:
            video.num_redone += 1
    elif key.stage == "score" and video.alone is None and len(video.questions) > 1:
        _punish_together(video, failure, max_attempts=max_attempts, lost=lost)
    elif key.stage == "score":
        index = 0 if video.alone is None else video.alone
        remedy = _strike(video, index, failure, rung=video.rung, max_attempts=max_attempts)
        if remedy is Remedy.NEXT_RUNG:
            restart_scoring(video, [index], rung=video.rung + 1, lost=lost)
        elif remedy is Remedy.FAIL_QUESTION:
            _fell(video, failure, is_death=is_death)
    else:
        rung = video.questions[key.index].answer_rung
        remedy = _strike(video, key.index, failure, rung=rung, max_attempts=max_attempts)
        video.questions[key.index].answer_rung += remedy is Remedy.NEXT_RUNG


def _punish_together(video: VideoState, failure: Failure, *, max_attempts: int, lost: AbstractSet[str]) -> None:
    video.scoring_strikes += failure.failure_class is not FailureClass.OUT_OF_MEMORY
    remedy = for_scoring_together(failure, strikes=video.scoring_strikes, rung=video.rung, max_attempts=max_attempts)
    video.num_redone += 1
    if remedy is Remedy.NEXT_RUNG:  # all at one rung, whatever was answered before
        again = [index for index, question in enumerate(video.questions) if question.phase is not Phase.FAILED]
        restart_scoring(video, again, rung=video.rung + 1, lost=lost)
    elif remedy is Remedy.ASK_APART:
        for question in video.questions:
            question.strikes += 1
        video.alone = next(index for index, question in enumerate(video.questions) if not question.is_over)
        again = [index for index, question in enumerate(video.questions) if not question.is_over]
        restart_scoring(video, again, rung=0, lost=lost)


def ask_next(video: VideoState, *, lost: AbstractSet[str]) -> None:
    """Where questions are asked apart and one is over, the next has its turn."""
    if video.alone is None or not video.questions[video.alone].is_over or video.is_over:
        return
    video.alone = next(index for index, question in enumerate(video.questions) if not question.is_over)
    restart_scoring(video, [video.alone], rung=0, lost=lost)


def _strike(video: VideoState, index: int, failure: Failure, *, rung: int, max_attempts: int) -> Remedy:
    question = video.questions[index]
    question.strikes += failure.failure_class is not FailureClass.OUT_OF_MEMORY
    remedy = for_question(failure, strikes=question.strikes, rung=rung, max_attempts=max_attempts)
    if remedy is Remedy.FAIL_QUESTION:
        question.fail(failure)
        video.final.forget(index)
        trim(video)
    else:
        video.num_redone += 1
    return remedy


def _fell(video: VideoState, failure: Failure, *, is_death: bool) -> None:
    """A question's turn only killed workers. When that is all that ever happens, the others are spared the try."""
    video.num_felled += is_death
    has_answered = any(question.phase is Phase.DONE for question in video.questions)
    if video.num_felled >= _FELLED_ALIKE and not has_answered:
        fail_open(video, failure)
