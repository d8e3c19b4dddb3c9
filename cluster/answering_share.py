"""How much of the GPUs' time final passes will take, and so how many processes only answer. Arithmetic only.

Seconds are predicted in tokens through the language model: every group's tokens are encoded and prefilled once for all
questions of a video, every question's final pass prefills what its budget bought. Groups and budgets are of one order
of magnitude, so a token costs about the same in both.
"""

from dataclasses import dataclass, replace

from pipeline.method.selectors.base import Selector
from pipeline.models.interface import ModelLayout
from pipeline.settings.config import ExecutionConfig, RunConfig

_ENCODE_COST = 0.36  # per token, where prefilling it is 1: the floor of Qwen2.5-VL-7B at 308 x 560 (docs/results.md)
_SCORED_SHARE = 0.5  # of the groups, where a question may stop early: what the paper reports
_USUAL_FRAME = (720, 1280)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedWorkload:
    """What a job is about to do, on average; tokens are visual ones.

    Attributes:
        questions_per_video: of the videos that have any left.
        tokens_per_video: offered by all groups.
        final_tokens: in a final pass.
        needs_scores: False where groups are only encoded.
        scored_share: of the groups.
    """

    questions_per_video: float
    tokens_per_video: float
    final_tokens: float
    needs_scores: bool = True
    scored_share: float = 1.0

    @property
    def answering_per_scoring(self) -> float:
        """Predicted seconds of final passes per second of scoring."""
        scoring = self.tokens_per_video * self.scored_share * (_ENCODE_COST + self.needs_scores)
        return self.questions_per_video * min(self.final_tokens, self.tokens_per_video) / scoring


def expect_workload(
    *, num_videos: int, num_questions: int, config: RunConfig, layout: ModelLayout, selector: Selector
) -> ExpectedWorkload:
    """Before any video is read: as if each were as long as ``sampling.max_frames`` allows.

    Shorter videos mean more answering than predicted; the scorers then answer, as they do without answerers.
    """
    sampling = config.sampling
    height, width = _USUAL_FRAME
    geometry = layout.frame_geometry(height, width, min_pixels=sampling.min_pixels, max_pixels=sampling.max_pixels)
    patches = selector.choose_patches(
        max(1, sampling.max_frames // layout.frames_per_patch),
        tokens_per_patch=geometry.tokens_per_patch,
        token_budget=config.budget.token_budget,
        keep_ratio=config.budget.keep_ratio,
    )
    tokens = len(patches) * geometry.tokens_per_patch
    budget = selector.final_budget(config.budget)
    return ExpectedWorkload(
        questions_per_video=num_questions / num_videos,
        tokens_per_video=tokens,
        final_tokens=(tokens if budget is None else budget) * selector.needs_final_pass,
        needs_scores=selector.needs_scores,
        scored_share=_SCORED_SHARE if selector.can_stop else 1.0,
    )


def assign_answerers(execution: ExecutionConfig, workload: ExpectedWorkload) -> tuple[ExecutionConfig, int]:
    """Scorers and dedicated answerers.

    A number that the settings name is added to the scorers. Else answerers are taken from ``num_scorers``, in
    proportion to the predicted seconds, once there is at least one process's worth of answering; ``min_scorers`` stay.

    Returns:
        Settings with the scorers that remain, and the number of answerers.
    """
    if execution.num_answerers is not None:
        return execution, execution.num_answerers
    ratio, num_processes = workload.answering_per_scoring, execution.scorers
    if ratio * num_processes < 1:
        return execution, 0
    num_answerers = max(1, round(num_processes * ratio / (1 + ratio)))
    num_answerers = min(num_answerers, num_processes - execution.min_scorers)
    return replace(execution, num_scorers=num_processes - num_answerers), num_answerers
