"""One video and its questions through the product's own path, from frames in memory to answers, timed by stage.

No Ray, no video file: the plain loop of ``passes.whole_video``, with one group queued ahead as a worker does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.lab.benchmarks.random_models import FILLER_WORDS, video_token
from pipeline.lab.benchmarks.stage_clock import StageClock, StagedModel
from pipeline.manifest.questions import Question
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import ModelLayout, VideoModel
from pipeline.models.prompt import build_prompt
from pipeline.passes.video_answer import VideoAnswer
from pipeline.passes.whole_video import answer_groups
from pipeline.planning.assumed_video import assume_video
from pipeline.planning.video_plan import VideoPlan, plan_video
from pipeline.settings.config import RunConfig

OPTIONS = FILLER_WORDS[:4]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clip:
    """One video in memory: its plan, and per group in visiting order ``(F, H, W, 3)`` uint8 frames."""

    plan: VideoPlan
    frames: tuple[npt.NDArray[np.uint8], ...]

    @property
    def num_patches(self) -> int:
        """Temporal patches of all groups."""
        return sum(len(patches) for patches in self.plan.groups)

    def first(self, num_groups: int) -> "Clip":
        """The clip without its later groups."""
        groups, indices = self.plan.groups[:num_groups], self.plan.group_indices[:num_groups]
        return Clip(plan=replace(self.plan, groups=groups, group_indices=indices), frames=self.frames[:num_groups])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProductRun:
    """What one run gave; ``shown`` are tokens and temporal patches of each final pass, in order of the questions."""

    answers: tuple[VideoAnswer, ...]
    seconds: dict[str, float]
    wall_s: float
    peak_bytes: int
    shown: tuple[tuple[int, int], ...]


def build_clip(layout: ModelLayout, *, num_frames: int, height: int, width: int, config: RunConfig) -> Clip:
    """Random frames at the model's size, planned as a video at ``sample_fps`` is; each group's are its own."""
    sampling = replace(config.sampling, min_pixels=1, max_pixels=height * width)
    sizes = replace(config, sampling=sampling, execution=replace(config.execution, frame_buffer_bytes=1 << 50))
    fps = sampling.sample_fps  # every frame is sampled
    probe = assume_video("memory", num_frames=num_frames, fps=fps, gop_frames=num_frames, height=height, width=width)
    plan = plan_video(probe, layout=layout, selector=get_selector(config.method), config=sizes)
    random, geometry = np.random.default_rng(0), plan.geometry
    shapes = [(len(group) * layout.frames_per_patch, geometry.height, geometry.width, 3) for group in plan.groups]
    return Clip(plan=plan, frames=tuple(random.integers(0, 256, shape, dtype=np.uint8) for shape in shapes))


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
    clock.start()
    answers = answer_groups(
        clip.plan, clip.frames, questions, model=staged.as_model(), config=config, num_ahead=1, stage=clock.stage
    )
    clock.stop()
    return ProductRun(
        answers=answers,
        seconds=clock.seconds(),
        wall_s=clock.wall_s,
        peak_bytes=clock.peak_bytes(),
        shown=tuple(staged.shown),
    )
