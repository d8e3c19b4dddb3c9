"""Trains the demo model from nothing on videos it makes itself. One to three hours on two CPU cores."""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

_HELD_OUT_SEED_STEP = 500
_NEEDLE_STAGES = ("vision", "frozen", "joint", "polish")
_EVENT_STAGES = ("glimpse", "events", "practice", "drill", "rehearsal", "settle", "review", "finish", "encore")


def main(arguments: list[str] | None = None) -> int:
    """Resumable: finished stages are read from ``--work-dir``."""
    parser = argparse.ArgumentParser(prog="train_demo_model.py", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("pipeline/demo/model"), help="model folder to write")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dir"), help="training videos and finished stages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-videos", type=int, default=128, help="training videos of 2,000 frames")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the recipe's steps, for trials")
    _train(parser.parse_args(arguments))
    return 0


def _train(options: argparse.Namespace) -> None:
    import torch

    from pipeline.lab.demo_training.architecture import build_demo_model, widen_vocabulary
    from pipeline.lab.demo_training.card import measure, save_model
    from pipeline.lab.demo_training.patches import build_pool
    from pipeline.lab.demo_training.recipe import Recipe, scaled
    from pipeline.lab.demo_training.training import Trainer
    from pipeline.lab.demo_training.vocabulary import build_tokenizer
    from pipeline.models.qwen.window_attention import WINDOW_ATTENTION

    torch.set_num_threads(options.threads)
    recipe = scaled(replace(Recipe(), seed=options.seed), options.scale)

    def log(line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)

    words, all_words = build_tokenizer(knows_events=False), build_tokenizer()
    model = build_demo_model(words, seed=recipe.seed)
    model.set_attn_implementation({"vision_config": WINDOW_ATTENTION, "text_config": "sdpa"})
    pool = build_pool(
        options.work_dir / "train",
        num_videos=options.num_videos,
        frames_per_video=2_000,
        seed=recipe.seed,
        processes=options.threads,
    )
    log(f"{len(pool)} training patches")
    latest = options.work_dir / "latest.pt"  # to look at while it trains; never resumed from
    for tokenizer, stages in ((words, _NEEDLE_STAGES), (all_words, _EVENT_STAGES)):
        widen_vocabulary(model, tokenizer, seed=recipe.seed)
        trainer = Trainer(model, tokenizer, pool, recipe, log, lambda: torch.save(model.state_dict(), latest))
        for stage in stages:
            done = options.work_dir / f"{stage}-seed{recipe.seed}-scale{options.scale:g}.pt"
            if done.exists():
                model.load_state_dict(torch.load(done))
                log(f"stage {stage} was done: {done}")
                continue
            getattr(trainer, f"train_{stage}")()
            torch.save(model.state_dict(), done)
    held_out = build_pool(
        options.work_dir / "held_out", num_videos=4, frames_per_video=2_000, seed=recipe.seed + _HELD_OUT_SEED_STEP
    )
    judge = Trainer(model, all_words, held_out, replace(recipe, seed=recipe.seed + 1), log)
    measurements = measure(judge, num_batches=60)
    save_model(options.output, model, all_words, recipe=recipe, measurements=measurements)
    log(f"{options.output}: {measurements}")


if __name__ == "__main__":
    sys.exit(main())
