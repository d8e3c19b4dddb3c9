"""A video of three groups in a scorer's hands: group passes for three questions, gather, removal, final passes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.manifest.questions import Question
from pipeline.models.devices.gpu_layers import fit_layers_to_gpu, fit_tower
from pipeline.models.registry import FAMILIES
from pipeline.passes.final_pass import answer_question
from pipeline.passes.group_pass import GroupScorer, ScoredGroup
from pipeline.passes.records import FinalAnswer, FinalInput, GroupInput
from pipeline.settings.config import AnsweringConfig, BudgetConfig, RunConfig, SamplingConfig, ScoringConfig
from tests.unit.models.tiny_models import BUILDERS

NUM_GROUPS, FRAMES_PER_GROUP, BOUGHT = 3, 8, 12
QUESTIONS = tuple(
    Question(question_id=str(index), video="v", text=text, options=options, row_index=index)
    for index, (text, options) in enumerate(
        [
            ("What color is the circle ?", ("red", "blue")),
            ("Which one ?", ("red", "blue", "green")),
            ("What color is the star ?", None),
        ]
    )
)
CONFIG = RunConfig(
    sampling=SamplingConfig(frames_per_group=FRAMES_PER_GROUP),
    scoring=ScoringConfig(reference_layer=1, question_batch=2, encode_patches=3, response_tokens=4),
    budget=BudgetConfig(token_budget=24, over_select=1.5),
    answering=AnsweringConfig(answer_tokens=3, positions="compact"),
)


@dataclass(kw_only=True, slots=True)
class Passed:
    """What came of it."""

    groups: list[ScoredGroup]
    answers: list[FinalAnswer]


def build_model(family: str, *, dtype: torch.dtype, place: Callable[[nn.Module], None] | None = None) -> Any:
    """A tiny model as loading leaves it: rotary frequencies stay in float32. ``place`` moves its parts to devices."""
    row = FAMILIES[family]
    stock, tokenizer = BUILDERS[family]()
    buffers = {name: buffer.clone() for name, buffer in stock.named_buffers()}
    stock = stock.to(dtype).requires_grad_(False)
    for name, buffer in buffers.items():
        part, _, own = name.rpartition(".")
        stock.get_submodule(part)._buffers[own] = buffer
    if place is not None:
        place(stock)
    stock.set_attn_implementation(dict(row.attention))
    if place is not None:
        fit_layers_to_gpu(stock)
    elif dtype.itemsize == 2 and hasattr(stock.model, "visual"):
        fit_tower(stock.model.visual)  # the same arithmetic as on a GPU
    return row.build(stock, tokenizer, name="tiny", revision="0")


def run_video(
    model: Any, mark: Callable[[str], None] = lambda stage: None, *, questions: tuple[Question, ...] = QUESTIONS
) -> Passed:
    """The next group is launched before the one before is read, as a scorer does; ``mark`` is told where it stands."""
    geometry = model.frame_geometry(168, 140, min_pixels=2_000, max_pixels=30_000)
    patches, random = FRAMES_PER_GROUP // model.frames_per_patch, np.random.default_rng(3)
    centers_s = np.arange(patches * NUM_GROUPS) + 0.25
    scorer, launched, groups = GroupScorer(model, CONFIG), [], []
    for index in range(NUM_GROUPS):
        own = np.arange(index, patches * NUM_GROUPS, NUM_GROUPS)
        group = GroupInput(
            group_index=index,
            geometry=geometry,
            patches=own,
            questions=questions,
            batches=((0, 1), (2,))[: len(questions) - 1],
            patch_centers_s=centers_s[own],
        )
        frames = random.integers(0, 256, (FRAMES_PER_GROUP, geometry.height, geometry.width, 3), dtype=np.uint8)
        mark("launch")
        launched.append(scorer.launch([_piece(frames, start) for start in (0, 1)], group))
        mark("finish")
        groups += [launched.pop(0).finish()] if index else []
    groups.append(launched.pop().finish())
    mark("retain")
    for group in groups:
        for question in range(len(questions)):
            group.candidates.retain(question, BOUGHT)
    mark("gather")
    bought = [
        [piece.read() for piece in [g.candidates.fetch(q, BOUGHT, position=i) for i, g in enumerate(groups)]]
        for q in range(len(questions))
    ]
    mark("answer")
    answers = []
    for question, pieces in zip(questions, bought, strict=True):
        final = FinalInput(
            question=question,
            final_budget=CONFIG.budget.token_budget,
            geometry=geometry,
            patch_times_s=np.arange(patches * NUM_GROUPS) * 1.0,
            duration_s=100.0,
            patch_centers_s=centers_s,
        )
        answers.append(answer_question(model, pieces, final, CONFIG))
    mark("end")
    return Passed(groups=groups, answers=answers)


def _piece(frames: Any, start: int) -> tuple[Any, Any, Any]:
    """Every other frame, read-only, as it comes out of the object store."""
    own = frames[start::2].copy()
    own.flags.writeable = False
    return np.arange(start, FRAMES_PER_GROUP, 2), np.arange(len(own)), own
