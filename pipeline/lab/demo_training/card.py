"""Measures a trained demo model on fresh clips of held-out training videos, and writes its folder with a model card."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from pipeline.lab.demo_training.event_styles import EventStyle
from pipeline.lab.demo_training.examples import ClipStyle
from pipeline.lab.demo_training.recipe import Recipe
from pipeline.lab.demo_training.scoreboard import GroupEntropies
from pipeline.lab.demo_training.training import Trainer
from pipeline.lab.synthetic.questions import KINDS, Kind
from pipeline.method.entropy import token_entropies


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurements:
    """On 32-patch groups; then on 16 tokens of long virtual videos. Questions with options; entropies in nats."""

    questions: int
    accuracy_with_needle: float
    median_entropy_with: float
    median_entropy_without: float
    auroc: float
    falsely_certain_below_0_1: float
    open_accuracy_with_needle: float
    final_pass_needle_accuracy: float
    final_pass_order_accuracy: float
    final_pass_last_accuracy: float
    final_pass_count_accuracy: float
    final_pass_absent_entropy: float


@torch.no_grad()
def measure(trainer: Trainer, *, num_batches: int) -> Measurements:
    """Score ``num_batches`` batches of clips like the groups of a long video: mostly empty, few objects."""
    group = ClipStyle(num_patches=32, num_tokens=128, max_appearances=3, max_patches_each=1, max_gap=1, open_share=0.3)
    logits_AV, is_sure_A, right_A, is_choice_A = (
        torch.cat(parts)
        for parts in zip(
            *(trainer.probe_answers(trainer.draw_examples(group)) for _ in range(num_batches)), strict=True
        )
    )
    entropy_A = token_entropies(logits_AV).numpy()
    sure, choice, right = is_sure_A.numpy(), is_choice_A.numpy(), right_A.numpy()
    found = GroupEntropies(with_needle=entropy_A[sure & choice], without_needle=entropy_A[~sure & choice])
    return Measurements(
        questions=len(entropy_A),
        accuracy_with_needle=_share(right[sure & choice]),
        median_entropy_with=round(float(np.median(found.with_needle)), 4),
        median_entropy_without=round(float(np.median(found.without_needle)), 4),
        auroc=round(found.auroc, 4),
        falsely_certain_below_0_1=round(found.false_certainty(0.1), 5),
        open_accuracy_with_needle=_share(right[sure & ~choice]),
        **_measure_final_passes(trainer, num_batches=max(1, num_batches // 4)),
    )


def _measure_final_passes(trainer: Trainer, *, num_batches: int) -> dict[str, float]:
    """Accuracy by kind where the kept tokens show anything of what is asked; the truth is that of the whole video."""
    final = EventStyle(view="final", num_tokens=16, event_strides=(0.5, 1.0))
    measured: dict[str, float] = {}
    for kind in KINDS:
        logits_AV, is_sure_A, right_A, _ = _probe(trainer, final, [kind], num_batches)
        if kind == "absent":
            measured["final_pass_absent_entropy"] = round(float(token_entropies(logits_AV).mean()), 4)
        else:
            measured[f"final_pass_{kind}_accuracy"] = _share(right_A[is_sure_A].numpy())
    return measured


def _probe(
    trainer: Trainer, style: ClipStyle | EventStyle, kinds: Sequence[Kind], num_batches: int
) -> tuple[torch.Tensor, ...]:
    batches = [trainer.probe_answers(trainer.draw_examples(style, kinds)) for _ in range(num_batches)]
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))


def _share(is_right: NDArray[np.bool_]) -> float:
    return round(float(is_right.mean()), 4) if len(is_right) else math.nan


def save_model(
    folder: Path,
    model: Qwen2_5_VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    *,
    recipe: Recipe,
    measurements: Measurements,
) -> None:
    """Half-precision safetensors, tokenizer, chat template, recipe and card: what ``from_pretrained`` loads."""
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    model.float()
    tokenizer.save_pretrained(folder)
    record = {"recipe": asdict(recipe), "num_parameters": num_parameters, "measured": asdict(measurements)}
    (folder / "recipe.json").write_text(json.dumps(record, indent=2) + "\n")
    (folder / "README.md").write_text(_card(num_parameters, recipe, measurements))


def _card(num_parameters: int, recipe: Recipe, measured: Measurements) -> str:
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in asdict(measured).items())
    return f"""# Demo model

A stock Qwen2.5-VL architecture with {num_parameters / 1e6:.2f} M parameters, trained from random ones. What it was
taught, about the videos of `jobs/make_demo_archive.py` and `jobs/lab/make_synthetic_benchmark.py` (how well: below):

- What color is the star? (with options, or without: a sentence)
- What is the first color of the star? (two needles)
- What is the last color of the star?
- How many times does the star appear? (1 to 4)

It knows eight shapes, six colours and nothing else: it shows the method, not the world.

Made by `python jobs/lab/train_demo_model.py --seed {recipe.seed}` from nothing: no other weights, no other data than
the videos that the script renders, encodes (H.264), decodes and resizes itself. `recipe.json` holds every setting.

Measured on clips of held-out training videos. First, 32 temporal patches each, objects on at most one patch
(a blind guess among four options has entropy ln 4 = {math.log(4):.3f}); then final passes: 16 tokens kept of virtual
long videos of 8 to 160 groups, whose series last half to a whole stride of a group (order: two needles, of which often
only one is kept):

| | |
|---|---|
{rows}
"""
