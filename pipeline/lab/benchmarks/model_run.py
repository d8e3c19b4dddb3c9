"""One video and its questions through the product's own path, from frames in memory to answers, timed by stage.

No Ray, no video file: groups are scored one after the other, as one worker does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.engine.messages.work import AnswerDone, AnswerWork, ScoreWork, WorkKey
from pipeline.engine.one_video.question_state import QuestionState
from pipeline.lab.benchmarks.random_models import FILLER_WORDS, video_token
from pipeline.lab.benchmarks.stage_clock import StageClock, StagedModel
from pipeline.manifest.questions import Question
from pipeline.method.grouping import count_groups, plan_groups, visiting_order
from pipeline.method.sampling import patch_frames
from pipeline.method.selectors.base import Selector
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import FrameGeometry, ModelLayout, VideoModel
from pipeline.models.prompt import build_prompt
from pipeline.passes.candidates import GroupCandidates
from pipeline.passes.final_pass import answer_question
from pipeline.passes.group_pass import GroupScorer, LaunchedGroup, ScoredGroup
from pipeline.settings.config import RunConfig
from pipeline.video.slot_table import FramePiece

ASSEMBLE, CANDIDATES, GATHER, PRUNE = "assemble frames", "candidates and shares", "gather", "merge and prune"
OPTIONS = FILLER_WORDS[:4]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clip:
    """Frames of one video in memory, by group in visiting order.

    Attributes:
        frames: per group ``(F, H, W, 3)`` uint8, whole temporal patches.
        patches: per group, its temporal patches.
        indices: per group, its number in time.
        patch_times_s: start of every temporal patch of the video; ``patch_centers_s`` the mean time of its frames.
    """

    geometry: FrameGeometry
    frames: tuple[npt.NDArray[np.uint8], ...]
    patches: tuple[npt.NDArray[np.int64], ...]
    indices: tuple[int, ...]
    patch_times_s: npt.NDArray[np.float64]
    patch_centers_s: npt.NDArray[np.float64]

    @property
    def num_patches(self) -> int:
        """Temporal patches of all groups."""
        return sum(len(patches) for patches in self.patches)

    def first(self, num_groups: int) -> "Clip":
        """The clip without its later groups."""
        return Clip(
            geometry=self.geometry,
            frames=self.frames[:num_groups],
            patches=self.patches[:num_groups],
            indices=self.indices[:num_groups],
            patch_times_s=self.patch_times_s,
            patch_centers_s=self.patch_centers_s,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProductRun:
    """What one run gave; ``shown`` are tokens and temporal patches of each final pass, in order of the questions."""

    answers: tuple[AnswerDone, ...]
    first_scores: ScoredGroup
    seconds: dict[str, float]
    wall_s: float
    peak_bytes: int
    shown: tuple[tuple[int, int], ...]


def build_clip(layout: ModelLayout, *, num_frames: int, height: int, width: int, config: RunConfig) -> Clip:
    """Random frames at the model's size, planned as a video at ``sample_fps`` is; each group's are its own."""
    geometry = layout.frame_geometry(height, width, min_pixels=1, max_pixels=height * width)
    frames_PF = patch_frames(num_frames, frames_per_patch=layout.frames_per_patch)
    times_s = np.arange(num_frames) / config.sampling.sample_fps
    num_groups = count_groups(frames_PF.size, frames_per_group=config.sampling.frames_per_group)
    in_time = plan_groups(len(frames_PF), num_groups=num_groups, grouping=config.sampling.grouping)
    order = visiting_order(len(in_time))
    random = np.random.default_rng(0)
    shapes = [(len(in_time[i]) * layout.frames_per_patch, geometry.height, geometry.width, 3) for i in order]
    return Clip(
        geometry=geometry,
        frames=tuple(random.integers(0, 256, shape, dtype=np.uint8) for shape in shapes),
        patches=tuple(in_time[index] for index in order),
        indices=tuple(order.tolist()),
        patch_times_s=times_s[frames_PF[:, 0]],
        patch_centers_s=times_s[frames_PF].mean(axis=1),
    )


def build_questions(tokenizer: Any, family: str, count: int, *, num_tokens: int) -> tuple[Question, ...]:
    """Different multiple-choice questions whose suffix, chat template and instruction included, has ``num_tokens``.

    Raises:
        ValueError: The template and the options alone need more.
    """

    def count_suffix(text: str) -> int:
        prompt = build_prompt(tokenizer, video_token=video_token(family), question=text, options=OPTIONS)
        return len(prompt.suffix_ids)

    num_fixed = count_suffix("")
    if num_tokens <= num_fixed:
        raise ValueError(f"--question-tokens must be above {num_fixed}, which options and template need; {num_tokens=}")
    texts = [_filler(number, num_tokens - num_fixed) for number in range(count)]
    assert all(count_suffix(text) == num_tokens for text in texts)
    return tuple(
        Question(question_id=str(number), video="memory", text=text, options=OPTIONS, row_index=number)
        for number, text in enumerate(texts)
    )


def _filler(number: int, num_words: int) -> str:
    return " ".join(FILLER_WORDS[(number + place * (number + 1)) % len(FILLER_WORDS)] for place in range(num_words))


def run_product(
    model: VideoModel, clip: Clip, questions: Sequence[Question], config: RunConfig, clock: StageClock
) -> ProductRun:
    """Score every group, share out the budget, gather, prune, answer."""
    staged = StagedModel(model, clock)
    scorer = GroupScorer(staged.as_model(), config)
    selector = get_selector(config.method)
    states = [QuestionState(num_groups=len(clip.frames)) for _ in questions]
    held: list[GroupCandidates] = []
    first_scores: ScoredGroup | None = None
    waiting: LaunchedGroup | None = None
    clock.start()
    # 1. score (1 group at a time × all questions → candidates, shares), each launched before the one before is read
    for position in range(len(clip.frames) + 1):
        before, waiting = waiting, None
        if position < len(clip.frames):
            with clock.stage(ASSEMBLE):
                work = _score_work(clip, position, questions, config)
                waiting = scorer.launch([_piece(clip, position)], work)
        if before is not None:
            with clock.stage(CANDIDATES):
                group = before.finish()
                held.append(group.candidates)
                _file_scores(states, held, position - 1, group, selector=selector, config=config)
            first_scores = first_scores or group
    # 2. answer (1 question at a time: bought tokens → answer)
    answers = tuple(
        _answer(staged, clip, index, state, held, questions[index], selector=selector, config=config, clock=clock)
        for index, state in enumerate(states)
    )
    clock.stop()
    assert first_scores is not None
    return ProductRun(
        answers=answers,
        first_scores=first_scores,
        seconds=clock.seconds(),
        wall_s=clock.wall_s,
        peak_bytes=clock.peak_bytes(),
        shown=tuple(staged.shown),
    )


def _piece(clip: Clip, position: int) -> FramePiece:
    slots = np.arange(len(clip.frames[position]))
    return slots, slots, clip.frames[position]


def _score_work(clip: Clip, position: int, questions: Sequence[Question], config: RunConfig) -> ScoreWork:
    size = config.scoring.question_batch
    return ScoreWork(
        key=_key("score", position),
        group_index=clip.indices[position],
        frames=(),
        num_frames=len(clip.frames[position]),
        geometry=clip.geometry,
        patches=clip.patches[position],
        questions=tuple(questions),
        batches=tuple(
            tuple(range(start, min(start + size, len(questions)))) for start in range(0, len(questions), size)
        ),
        patch_centers_s=clip.patch_centers_s[clip.patches[position]],
    )


def _file_scores(
    states: Sequence[QuestionState],
    held: Sequence[GroupCandidates],
    position: int,
    group: ScoredGroup,
    *,
    selector: Selector,
    config: RunConfig,
) -> None:
    """What the coordinator does with a group's scores, and the scorer with what the coordinator says."""
    for index, state in enumerate(states):
        state.add_score(position, group.scores[index], selector=selector, stopping=config.stopping)
        for shrunk, limit in state.update_shares(selector=selector, budget=config.budget).items():
            held[shrunk].retain(index, limit)


def _answer(
    staged: StagedModel,
    clip: Clip,
    index: int,
    state: QuestionState,
    held: Sequence[GroupCandidates],
    question: Question,
    *,
    selector: Selector,
    config: RunConfig,
    clock: StageClock,
) -> AnswerDone:
    assert state.bought is not None
    with clock.stage(GATHER):
        bought = [(position, count) for position, count in enumerate(state.bought.tolist()) if count]
        pieces = [held[position].take(index, count, position=position) for position, count in bought]
    work = AnswerWork(
        key=_key("answer", index),
        question=question,
        pieces=(),
        final_budget=selector.final_budget(config.budget) if selector.removes_redundancy else None,
        geometry=clip.geometry,
        patch_times_s=clip.patch_times_s,
        duration_s=float(clip.patch_times_s[-1]) + 1.0,
        patch_centers_s=clip.patch_centers_s,
    )
    with clock.stage(PRUNE):
        return answer_question(staged.as_model(), pieces, work, config)


def _key(stage: str, index: int) -> WorkKey:
    return WorkKey(video_id=0, attempt=1, stage=stage, index=index)
