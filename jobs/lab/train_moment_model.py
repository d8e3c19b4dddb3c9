"""Trains the model that knows moments (scenes, signs, 24 kinds of object) from an empty folder; can be resumed."""

import argparse
import hashlib
import sys
import time
from dataclasses import replace
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 if a stage's check ends the run."""
    parser = argparse.ArgumentParser(prog="train_moment_model.py", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    parser.add_argument("--work-dir", type=Path, required=True, help="pictures and the state of each stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="share of pictures and steps, for trials; no checks")
    return _train(parser.parse_args(arguments))


def _train(options: argparse.Namespace) -> int:
    import torch

    from pipeline.lab.moment_training.card import save_model
    from pipeline.lab.moment_training.recipe import MomentRecipe, scaled
    from pipeline.lab.moment_training.stage import BadRunError
    from pipeline.lab.moment_training.train import train

    torch.set_num_threads(options.threads)
    recipe = replace(MomentRecipe(), seed=options.seed)
    if options.scale != 1.0:
        recipe = scaled(recipe, options.scale)

    def log(line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)

    try:
        model, tokenizer, figures = train(recipe, options.work_dir, processes=options.threads, log=log)
    except BadRunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    save_model(options.output, model, tokenizer, recipe=recipe, figures=figures)
    weights = (options.output / "model.safetensors").read_bytes()
    log(f"{options.output}: {len(weights):,} bytes, sha256 {hashlib.sha256(weights).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
