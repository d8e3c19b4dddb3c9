"""Writes a trained model's folder: half-precision weights, tokenizer, recipe, figures and a card."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from pipeline.lab.moment_training.recipe import MomentRecipe


def save_model(
    folder: Path,
    model: Qwen2_5_VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    *,
    recipe: MomentRecipe,
    figures: dict[str, float],
) -> None:
    """What ``from_pretrained`` loads, and how it came about."""
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    model.float()
    tokenizer.save_pretrained(folder)
    record: dict[str, Any] = {"recipe": asdict(recipe), "num_parameters": num_parameters, "measured": figures}
    (folder / "recipe.json").write_text(json.dumps(record, indent=2) + "\n")
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in figures.items())
    (folder / "README.md").write_text(
        f"# Model that knows moments\n\nA stock Qwen2.5-VL architecture with {num_parameters / 1e6:.2f} M parameters, "
        f"trained from random ones by `python jobs/lab/train_moment_model.py --seed {recipe.seed}` on pictures that "
        "the command draws itself. It knows 24 kinds of object in six colours, scenes of six to eight of them, signs "
        "with eight letters, and nothing else.\n\nMeasured on drawn pictures that training has not seen "
        f"(`final_`: 32 kept tokens, else groups of eight temporal patches):\n\n| | |\n|---|---|\n{rows}\n"
    )
