"""The recipe from an empty folder to weights: draw pictures, learn to look, learn to read.

Every part is kept and goes on where it was interrupted.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from pipeline.lab.demo_training.architecture import build_demo_model
from pipeline.lab.moment_training.answer_probe import AnswerProbe
from pipeline.lab.moment_training.clip_styles import ViewStyle, draw_style
from pipeline.lab.moment_training.pool import Pool, make_pools
from pipeline.lab.moment_training.reader import Reader, measure_reader
from pipeline.lab.moment_training.recipe import MomentRecipe
from pipeline.lab.moment_training.stage import Log, run_stage
from pipeline.lab.moment_training.token_probe import TokenProbe
from pipeline.lab.moment_training.tower import (
    Codes,
    draw_batch,
    encode,
    encode_pool,
    jitter,
    make_codes,
    tower_loss,
    tower_shares,
)
from pipeline.lab.moment_training.words import build_tokenizer
from pipeline.models.qwen.window_attention import WINDOW_ATTENTION

_HELD_OUT_SEED_STEP = 1_000
GROUP_CHECK = ViewStyle(view="group", num_patches=8, visible_share=0.6, open_share=0.0)
FINAL_CHECK = ViewStyle(
    view="final", num_patches=2, num_tokens=32, visible_share=0.4, open_share=0.0, missing_share=0.0
)


def train(
    recipe: MomentRecipe, work: Path, *, processes: int, log: Log
) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerFast, dict[str, float]]:
    """Train, or take up what an earlier call left in ``work``.

    Returns:
        The model, its tokenizer and what was measured of it on pictures that training has not seen.

    Raises:
        BadRunError: If a stage is worse than its check allows.
    """
    tokenizer = build_tokenizer()
    model = build_demo_model(
        tokenizer,
        seed=recipe.seed,
        vision_depth=recipe.vision_depth,
        vision_width=recipe.vision_width,
        text_layers=recipe.text_layers,
    )
    model.set_attn_implementation({"vision_config": WINDOW_ATTENTION, "text_config": "sdpa"})
    codes = make_codes(model, tokenizer, seed=recipe.seed)
    pools = make_pools(work / "pictures", recipe.pool_counts, seed=recipe.seed, processes=processes)
    held_out = make_pools(
        work / "pictures", recipe.held_out_counts, seed=recipe.seed + _HELD_OUT_SEED_STEP, processes=1
    )
    log(f"pictures: {sum(map(len, pools)):,} to learn from, {sum(map(len, held_out)):,} to measure")
    figures = _look(model, recipe, pools, held_out, codes, work=work, log=log)
    figures |= _read(model, tokenizer, recipe, pools, held_out, work=work, log=log)
    return model, tokenizer, figures


def _look(
    model: Qwen2_5_VLForConditionalGeneration,
    recipe: MomentRecipe,
    pools: Sequence[Pool],
    held_out: Sequence[Pool],
    codes: Codes,
    *,
    work: Path,
    log: Log,
) -> dict[str, float]:
    tower = model.model.visual

    def take_step(rng: np.random.Generator, _: float) -> tuple[Tensor, str]:
        pool = pools[int(rng.choice(len(pools), p=recipe.grid_shares))]
        pictures = draw_batch(rng, pool, recipe.pictures_per_batch)
        frames = jitter(rng, torch.from_numpy(pool.frames_NFHW3[pictures]))
        return tower_loss(encode(model, pool, frames), pool, pictures, codes), ""

    def measure() -> dict[str, float]:
        shares = [
            tower_shares(encode_pool(model, pool, rng=None), pool, np.arange(len(pool)), codes) for pool in held_out
        ]
        return {name: round(float(np.mean([one[name] for one in shares])), 4) for name in shares[0]}

    return run_stage(
        recipe.look,
        {"tower": tower},
        list(tower.named_parameters()),
        take_step,
        measure,
        folder=work,
        seed=recipe.seed,
        log=log,
    )


def _read(
    model: Qwen2_5_VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    recipe: MomentRecipe,
    pools: Sequence[Pool],
    held_out: Sequence[Pool],
    *,
    work: Path,
    log: Log,
) -> dict[str, float]:
    readers = [
        Reader(model, tokenizer, pools, features, num_questions=recipe.num_questions)
        for features in _encode_variants(model, recipe, pools)
    ]
    judge = Reader(
        model, tokenizer, held_out, [encode_pool(model, pool, rng=None) for pool in held_out], num_questions=6
    )
    torch.manual_seed(recipe.seed)
    probe = TokenProbe(hidden_size=model.config.text_config.hidden_size)
    answer_probe = AnswerProbe(model, tokenizer)
    trained = [(name, parameter) for name, parameter in model.named_parameters() if "visual" not in name]
    for name, parameter in (*probe.named_parameters(), *answer_probe.named_parameters()):
        trained.append((f"probe.{name}", parameter))

    def take_step(rng: np.random.Generator, done: float) -> tuple[Tensor, str]:
        number = int(rng.choice(len(pools), p=recipe.grid_shares))
        style = draw_style(rng, done, tokens_per_patch=pools[number].grid.num_tokens)
        reader = readers[int(rng.integers(len(readers)))]
        return reader.loss(
            reader.draw(rng, number, style, recipe.clips_per_batch), number, (probe, answer_probe), recipe.losses
        )

    def measure() -> dict[str, float]:
        final = measure_reader(judge, FINAL_CHECK, grids=range(len(pools)), count=6, seed=recipe.seed)
        group = measure_reader(judge, GROUP_CHECK, grids=range(len(pools)), count=6, seed=recipe.seed)
        return {**group, **{f"final_{name}": value for name, value in final.items()}}

    return run_stage(
        recipe.read,
        {"model": model, "probe": probe, "answer_probe": answer_probe},
        trained,
        take_step,
        measure,
        folder=work,
        seed=recipe.seed,
        log=log,
    )


def _encode_variants(
    model: Qwen2_5_VLForConditionalGeneration, recipe: MomentRecipe, pools: Sequence[Pool]
) -> list[list[Tensor]]:
    return [
        [
            encode_pool(model, pool, rng=np.random.default_rng([recipe.seed, 77, variant, pool.grid_number]))
            for pool in pools
        ]
        for variant in range(recipe.variants)
    ]
