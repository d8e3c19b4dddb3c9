"""AdaptToken over one whole video, top to bottom, as the paper tells it: no engine, no scheduler, no Ray.

The Python API for one video, and the independent reference of the engine, which gives the same bits. Each step's own
file says how it is done; this one says in what order.

Shape suffixes: F = frames of a group, H W 3 = pixels, G = groups visited
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import Question
from pipeline.manifest.time_range import TimeRange
from pipeline.method.selectors.base import GroupScore, Selector
from pipeline.method.selectors.registry import get_selector
from pipeline.method.selectors.shares import share_out
from pipeline.models.interface import VideoModel
from pipeline.models.loading import is_demo_model
from pipeline.passes.candidates import GroupCandidates
from pipeline.passes.device_frames import DeviceFrames, read_groups
from pipeline.passes.final_pass import answer_question
from pipeline.passes.group_pass import DevicePiece, GroupScorer, LaunchedGroup, ScoredGroup
from pipeline.passes.group_prior import hear_groups
from pipeline.passes.group_vote import answer_by_vote
from pipeline.passes.kept_groups import NOTHING_KEPT, KeptGroups
from pipeline.passes.ranking import RankOnce, rank_anew
from pipeline.passes.records import FinalAnswer, FinalInput, GroupInput
from pipeline.passes.video_answer import Asked, VideoAnswer, begin_answer, to_questions
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.planning.video_warnings import check_lost, warn_about, warn_about_letters
from pipeline.results.keys import video_fingerprint
from pipeline.settings.config import RunConfig
from pipeline.uris import strip_secrets
from pipeline.video.backends.nvdec import refusal_of
from pipeline.video.decode import DecodedFrames
from pipeline.video.frame_store.reading import FrameReader
from pipeline.video.isolated import IsolatedReader
from pipeline.video.slot_table import FramePiece

FramesFHW3 = npt.NDArray[np.uint8]
Pieces = Sequence[FramePiece] | Sequence[DevicePiece]
Stage = Callable[[str], AbstractContextManager[None]]
Note = Callable[[Sequence[VideoAnswer], ScoredGroup], None]
_GROUPS_PER_SHARING = 4  # so many groups are held in whole at most


def answer_video(
    path: str,
    questions: Sequence[Asked],
    *,
    model: VideoModel,
    config: RunConfig,
    time_range: TimeRange | None = None,
) -> tuple[VideoAnswer, ...]:
    """Answer all questions about one local video file, or about one part of it.

    Example: ``answer_video("film.mp4", ["Who wins?", ("Who wins?", ("white", "black"))], model=…, config=…)``

    Raises:
        PipelineError: The video or a transcript cannot be read, too much of it is lost, it exceeds a limit, or
            ``time_range`` lies beyond its end; or the model gave no distribution.
        ValueError: A question cannot be asked.
    """
    asked = to_questions(questions, path)
    if not Path(path).is_file():
        raise PipelineError(FailureClass.NOT_FOUND, f"there is no video at {path}: check the path")
    uri = str(Path(path).absolute())
    with closing(IsolatedReader(config.reading, max_bad_frames_share=config.sampling.max_bad_frames_share)) as reader:
        # 1. sampling, 2. grouping (1 video → F sampled frames → G groups in visiting order)
        selector = get_selector(config.method)
        plan = plan_video(reader.probe(path), layout=model, selector=selector, config=config, time_range=time_range)
        bad_frames: set[int] = set()
        if _is_by_nvdec(plan, config):
            with closing(DeviceFrames(model.device, config, timeline=lambda probe: probe)) as on_device:
                pieces = read_groups(on_device, plan, uri, bad_frames)
                return answer_groups(plan, pieces, asked, model=model, config=config, bad_frames=bad_frames)
        decode = partial(
            FrameReader(reader, config.frame_store).decode, fingerprint=video_fingerprint(uri), uri=strip_secrets(uri)
        )
        frames = read_frames(decode, plan, config, bad_frames)
        return answer_groups(plan, frames, asked, model=model, config=config, bad_frames=bad_frames)


def answer_groups(
    plan: VideoPlan,
    frames: Iterable[FramesFHW3 | Pieces],
    questions: Sequence[Question],
    *,
    model: VideoModel,
    config: RunConfig,
    bad_frames: set[int] | None = None,
    num_ahead: int = 0,
    once: RankOnce = rank_anew,
    stage: Stage = lambda name: nullcontext(),
    kept: KeptGroups = NOTHING_KEPT,
    note: Note = lambda answers, scored: None,
) -> tuple[VideoAnswer, ...]:
    """Steps 3 to 8 over a planned video.

    Args:
        plan: what ``plan_video`` returned.
        frames: each group's, in visiting order, as one or in pieces; none is taken once every question has stopped,
            and none of a group that is ``kept``.
        questions: about this video.
        model: loaded.
        config: of the run.
        bad_frames: frames of the video that ``frames`` lacks; may still grow while they are taken.
        num_ahead: passes queued on the device before the one in front is waited for.
        once: looks up what a ranker said of a group, where several methods are compared.
        stage: opened around each step, e.g. to time it.
        kept: of earlier questions about this plan; what these need is added.
        note: told of each group once it counts; what it raises ends the work.
    """
    selector, held = get_selector(config.method), list[GroupCandidates]()
    answers = tuple(begin_answer(question, plan) for question in questions)
    launched, scorer, groups = list[LaunchedGroup](), GroupScorer(model, config, kept, once), iter(frames)
    while len(held) < len(plan.groups) and not all(answer.has_stopped for answer in answers):
        # 3. attention rank, 4. response entropy (1 group × its open questions → scores, ranked tokens)
        while len(held) + len(launched) < len(plan.groups) and len(launched) <= num_ahead:
            with stage("assemble frames"):
                group = _input_of(plan, len(held) + len(launched), answers, config)
                launched.append(scorer.launch([] if kept.has(group.group_index) else _as_pieces(next(groups)), group))
        with stage("candidates and shares"):
            scored = launched.pop(0).finish()
            held.append(scored.candidates)
            for index, score in scored.scores.items():
                if _visit(answers[index], score, selector=selector, config=config):
                    _drop_beyond_shares(answers[index], index, held, selector)
        note(answers, scored)
    for index, answer in enumerate(answers):
        _judge_video(plan, answer, bad_frames or set(), config, is_demo_model=is_demo_model(model.name))
        if not selector.needs_final_pass:
            _settle(answer, answer_by_vote(selector, answer.scores, answer.asked), selector)
            continue
        # 5. global budget: what each group sold (B' tokens over the visited groups)
        with stage("gather"):
            bought = [(position, count) for position, count in enumerate(answer.bought.tolist()) if count]
            pieces = [held[p].take(index, n, position=p, by_patch=answer.patches_of(p)) for p, n in bought]
        # 6. global removal (B' → B tokens), 7. final pass (B tokens + question → answer, evidence)
        with stage("merge and prune"):
            final = _final_of(plan, answer.asked, selector, config)
            _settle(answer, answer_question(model, pieces, final, config), selector)
    return answers


def _judge_video(
    plan: VideoPlan, answer: VideoAnswer, bad_frames: set[int], config: RunConfig, *, is_demo_model: bool
) -> None:
    """Refuse what lost too many frames for this question; warn of the rest."""
    most, num_groups = config.sampling.max_bad_frames_share, len(answer.scores)
    check_lost(plan, bad_frames, num_groups=num_groups, max_bad_frames_share=most)
    is_by_nvdec = _is_by_nvdec(plan, config)
    answer.warnings = warn_about(
        plan, bad_frames, num_groups=num_groups, is_demo_model=is_demo_model, is_by_nvdec=is_by_nvdec
    )


def _is_by_nvdec(plan: VideoPlan, config: RunConfig) -> bool:
    return config.sampling.decoder == "nvdec" and refusal_of(plan.probe) is None


def _visit(answer: VideoAnswer, score: GroupScore, *, selector: Selector, config: RunConfig) -> bool:
    """One more group counts, unless the question has stopped: shares over all that count, and 8. the early stop.

    Returns:
        Whether shares are new. They come after every fourth group where nothing hangs on those between, as working them
        out, and looking through all groups for what they spare, takes time that grows with the square of their number.
    """
    if answer.has_stopped:
        return False
    answer.scores.append(score)
    is_complete = len(answer.scores) == answer.num_groups
    if not (is_complete or selector.can_stop or len(answer.scores) % _GROUPS_PER_SHARING == 0):
        return False
    answer.bought, answer.by_patch = share_out(selector, answer.scores, config.budget, is_complete=is_complete)
    answer.has_stopped = selector.stop_after(answer.scores, config.stopping) is not None
    return True


def _settle(answer: VideoAnswer, final: FinalAnswer, selector: Selector) -> None:
    answer.final = hear_groups(final, selector=selector, prefix=answer.scores, question=answer.asked)
    answer.warnings += warn_about_letters(final.letter_share)


def _drop_beyond_shares(answer: VideoAnswer, index: int, held: Sequence[GroupCandidates], selector: Selector) -> None:
    """Shares only shrink, but for one token of rounding: what can never be bought need not be held."""
    if selector.profile == "patches":  # any of them may be bought in the end
        return
    for position, group in enumerate(held):
        limit = int(answer.bought[position]) + 1 if position < len(answer.bought) else 0
        if 2 * limit <= len(group.ranked.get(index, ())):
            group.retain(index, limit)


def _input_of(plan: VideoPlan, position: int, answers: Sequence[VideoAnswer], config: RunConfig) -> GroupInput:
    """Micro-batches of fixed questions, so that no stop moves a bit: one goes on whole until all of it has stopped."""
    size, patches = config.scoring.question_batch, plan.groups[position]
    batches = [tuple(range(start, min(start + size, len(answers)))) for start in range(0, len(answers), size)]
    return GroupInput(
        group_index=plan.group_indices[position],
        geometry=plan.geometry,
        patches=patches,
        questions=tuple(answer.asked for answer in answers),
        batches=tuple(batch for batch in batches if not all(answers[index].has_stopped for index in batch)),
        patch_centers_s=plan.centers_of(patches),
        num_groups=len(plan.groups),
        num_patches=plan.num_chosen,
    )


def _final_of(plan: VideoPlan, question: Question, selector: Selector, config: RunConfig) -> FinalInput:
    return FinalInput(
        question=question,
        final_budget=selector.final_budget(config.budget) if selector.removes_redundancy else None,
        geometry=plan.geometry,
        patch_times_s=plan.patch_times_s,
        duration_s=plan.end_s,
        patch_centers_s=plan.patch_centers_s,
    )


def read_frames(
    decode: Callable[..., DecodedFrames],
    plan: VideoPlan,
    config: RunConfig,
    bad_frames: set[int],
    kept: KeptGroups | None = None,
) -> Iterator[FramesFHW3]:
    """Frames of each group that is not kept; one reading per decode pass, each as large as the frame buffer allows."""
    for reading in plan.passes:
        positions, wanted = tuple(reading.group_positions), reading.frame_indices
        if kept is not None:
            positions = tuple(p for p in positions if not kept.has(plan.group_indices[p]))
            if not positions:
                continue
            wanted = np.unique(np.concatenate([plan.group_frames(position) for position in positions]))
        backend = "pyav" if config.sampling.decoder == "nvdec" else config.sampling.decoder  # NVDEC has refused it
        decoded = decode(plan.probe, wanted, size=plan.decode_size, backend=backend)
        bad_frames.update(int(wanted[row]) for row in decoded.bad_frames)
        for position in positions:
            yield decoded.frames[np.searchsorted(wanted, plan.group_frames(position))]


def _as_pieces(frames: FramesFHW3 | Pieces) -> Pieces:
    if not isinstance(frames, np.ndarray):
        return frames
    slots = np.arange(len(frames))
    return [(slots, slots, frames)]
