"""What is made again when something of a video is lost, and what stops when nobody needs it: changes to ``VideoState``.

Only what was lost is done again: frames of a stretch, one group, one gather. Scores that are known stay, because a
group scored again gives the same ones; its candidates are cut as they were.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
import numpy.typing as npt

from pipeline.engine.messages.work import WorkKey
from pipeline.engine.one_video.question_state import Phase, QuestionState
from pipeline.engine.one_video.video_state import VideoState
from pipeline.failures import Failure


def is_awaited(video: VideoState, key: WorkKey) -> bool:
    """Whether a piece of work is in flight and still needed."""
    if key.stage == "probe":
        return video.probing == key
    if key.stage == "score":
        return key in video.scoring
    if key.stage.startswith("decode"):
        return video.frames is not None and video.frames.is_current(key)
    return video.final.is_current(key)


def is_in_use(video: VideoState, key: WorkKey, worker: str) -> bool:
    """Whether a worker holds, or is making, candidates that go by the same name as those of a late result."""
    is_making = any(other.index == key.index and scorer == worker for other, scorer in video.scoring.items())
    return key.attempt == video.attempt and (is_making or video.holder.get(key.index) == worker)


def put_back(video: VideoState, key: WorkKey, *, lost: AbstractSet[str], has_lost_input: bool = False) -> None:
    """A piece in flight was not done: somebody else will be given it.

    Args:
        video: the piece's.
        key: what ``is_awaited``.
        lost: workers that are gone.
        has_lost_input: the worker found that frames or tokens it needed are gone.
    """
    if key.stage == "probe":
        video.probing = None
    elif key.stage == "score":
        assert video.frames is not None
        del video.scoring[key]
        video.frames.take_back([key.index], lost=lost, is_lost=has_lost_input)
    elif key.stage == "gather" or (key.stage == "answer" and has_lost_input):
        video.final.gather_again(key.index)
    elif key.stage == "answer":
        video.final.put_back(key.index)
    else:
        assert video.frames is not None
        video.frames.read_again(key)


def lose_holdings(video: VideoState, worker: str) -> bool:
    """A worker is gone with the frames, candidates and gathered tokens it held; returns whether any are missed."""
    video.scorers.discard(worker)
    has_lost = video.final.lose_worker(worker)
    if video.frames is not None:
        has_lost |= video.frames.lose_decoder(worker)
    positions = [position for position, holder in video.holder.items() if holder == worker]
    return lose_candidates(video, positions) or has_lost


def lose_candidates(video: VideoState, positions: Iterable[int]) -> bool:
    """Nobody holds the candidates of some groups any more; returns whether they are needed."""
    lost = list(positions)
    for position in lost:
        del video.holder[position]
    if not lost:
        return False
    trim(video)
    assert video.frames is not None
    return any(not video.frames.is_idle(position) for position in lost)


def _needed(video: VideoState) -> npt.NDArray[np.bool_]:
    """``(G,)`` groups of which a question asked now needs tokens that have not been gathered."""
    assert video.plan is not None
    needed_G = np.zeros(len(video.plan.groups), dtype=bool)
    for index in video.scope:
        question = video.questions[index]
        if question.phase is Phase.SCORING or not (question.is_over or video.final.has_tokens(index)):
            needed_G |= question.needed()
    return needed_G


def trim(video: VideoState) -> None:
    """Read what is needed and not there, drop what is not needed, cancel what is in flight for nobody."""
    if video.plan is None or video.frames is None or video.candidates is None:
        return
    needed_G = _needed(video)
    unheld_G = np.ones(len(needed_G), dtype=bool)
    unheld_G[list(video.holder)] = False
    video.frames.want(np.flatnonzero(needed_G & unheld_G).tolist())
    unneeded = [p for p in np.flatnonzero(~needed_G).tolist() if not video.frames.is_idle(p)]
    video.frames.drop(unneeded)
    idle = [p for p in np.flatnonzero(unheld_G).tolist() if video.frames.is_idle(p)]
    video.candidates.forget(idle)
    dropped = {key: worker for key, worker in video.scoring.items() if not needed_G[key.index]}
    for key, worker in dropped.items():
        del video.scoring[key]
        video.cancelled.append((worker, key))
    video.cancelled += video.frames.take_unneeded()


def restart_scoring(video: VideoState, questions: Sequence[int], *, rung: int, lost: AbstractSet[str]) -> None:
    """Score some questions from the start, as if nothing had been scored; frames that are there are used."""
    assert video.frames is not None
    assert video.candidates is not None
    video.attempt += 1
    video.rung, video.last_given = rung, -1
    video.cancelled += [(worker, key) for key, worker in video.scoring.items()]
    video.frames.take_back([key.index for key in video.scoring], lost=lost)
    video.scoring, video.holder = {}, {}
    for index in range(len(video.questions)):
        video.final.forget(index)
    video.candidates.clear()
    for index in questions:
        video.questions[index].restart(rung=rung)
    video.abandoned |= video.scorers
    video.scorers = set()
    trim(video)
    video.frames.read_in_order()
    trim(video)


def fail_open(video: VideoState, failure: Failure) -> None:
    """End every question that is not over."""
    if not video.questions:
        video.questions = [QuestionState(num_groups=0) for _ in video.task.questions]
    for index, question in enumerate(video.questions):
        if not question.is_over:
            question.fail(failure)
            video.final.forget(index)
    trim(video)
