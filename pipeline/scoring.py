"""One group, one encode, one prefill, all questions: attention rank and response entropy.

Shape suffixes: F = frames of a group, N = its visual tokens
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config import RunConfig
from pipeline.engine.candidates import GroupCandidates
from pipeline.engine.work import ScoreWork
from pipeline.failures import FailureClass, PipelineError
from pipeline.method.entropy import response_certainty
from pipeline.models.interface import QuestionPrompt, Response, VideoModel
from pipeline.models.prompt import option_letter
from pipeline.selectors.base import GroupScore
from pipeline.selectors.registry import get_selector

# slots of the group, the row of ``frames`` that each shows, frames: a repeated last frame travels once
FrameBundle = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredGroup:
    """What one group's pass yields; seconds are wall time."""

    scores: dict[int, GroupScore]
    candidates: GroupCandidates
    was_prefilled: bool
    encode_s: float
    prefill_s: float
    score_s: float


def assemble_frames(bundles: Sequence[FrameBundle], *, num_frames: int) -> npt.NDArray[np.uint8]:
    """Put the stretches' frames into their slots: ``(F, H, W, 3)``."""
    frames_FHW3 = np.empty((num_frames, *bundles[0][2].shape[1:]), dtype=np.uint8)
    filled = 0
    for slots, rows, frames in bundles:
        frames_FHW3[slots] = frames[rows]
        filled += len(slots)
    assert filled == num_frames, "a group was handed out before its last stretch"
    return frames_FHW3


def score_group(
    model: VideoModel, frames_FHW3: npt.NDArray[np.uint8], work: ScoreWork, config: RunConfig
) -> ScoredGroup:
    """Encode, prefill and score one group for all questions of its micro-batches.

    Raises:
        PipelineError: ``MODEL`` when the model's output is not a distribution.
    """
    started = time.perf_counter()
    features_ND = model.encode(frames_FHW3, work.geometry, batch_patches=config.scoring.encode_patches)
    encoded = prefilled = time.perf_counter()
    responses: dict[int, Response] = {}
    needs_scores = get_selector(config.method).needs_scores
    if needs_scores:
        patch_s = model.frames_per_patch / config.sampling.sample_fps
        prefix = model.prefill(features_ND, work.geometry, patch_s=patch_s, center_s_P=work.patch_centers_s)
        prefilled = time.perf_counter()
        for batch in work.batches:
            prompts = [_build_prompt(model, work, index, config) for index in batch]
            responses.update(zip(batch, model.score(prefix, prompts, config.scoring), strict=True))
    num_tokens = len(features_ND)
    asked = [index for batch in work.batches for index in batch]
    ranks = {i: responses[i].attention_N if needs_scores else np.zeros(num_tokens, np.float32) for i in asked}
    return ScoredGroup(
        scores={i: _group_score(work, responses.get(i), num_tokens, config) for i in asked},
        candidates=GroupCandidates.build(
            features_ND, patches=work.patches, tokens_per_patch=work.geometry.tokens_per_patch, scores=ranks
        ),
        was_prefilled=needs_scores,
        encode_s=encoded - started,
        prefill_s=prefilled - encoded,
        score_s=time.perf_counter() - prefilled,
    )


def _build_prompt(model: VideoModel, work: ScoreWork, index: int, config: RunConfig) -> QuestionPrompt:
    question = work.questions[index]
    return model.build_question(question.text, question.options, response_tokens=config.scoring.response_tokens)


def _group_score(work: ScoreWork, response: Response | None, num_tokens: int, config: RunConfig) -> GroupScore:
    if response is None:  # tokens were only encoded
        return GroupScore(group_index=work.group_index, certainty=0.0, response="", num_tokens=num_tokens)
    try:
        certainty = response_certainty(response.entropies, share=config.scoring.certainty_share)
    except ValueError as error:
        raise PipelineError(
            FailureClass.MODEL,
            f"group {work.group_index}: the model's output is no distribution ({error}); try model.dtype=float32",
        ) from error
    said = response.text if response.option is None else option_letter(response.option)
    return GroupScore(group_index=work.group_index, certainty=certainty, response=said, num_tokens=num_tokens)
