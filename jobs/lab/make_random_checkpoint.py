"""Writes a checkpoint of a published shape with random weights, so that a machine is tried without a download.

What such a model says means nothing; what it costs, and whether it agrees with stock transformers, does.

    python jobs/lab/make_random_checkpoint.py --model-shape qwen2.5-vl-7b /tmp/random-7b
"""

import argparse
import sys
from pathlib import Path

from pipeline.lab.benchmarks.model_shapes import SHAPES


def main(arguments: list[str] | None = None) -> int:
    """Write one checkpoint; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make_random_checkpoint.py", description=__doc__)
    parser.add_argument("folder", type=Path, help="where it is written; 17 GB for 7B")
    parser.add_argument("--model-shape", choices=SHAPES, required=True)
    parser.add_argument("--device", help="where the weights are drawn; default: cuda where there is one, else cpu")
    options = parser.parse_args(arguments)
    import torch

    from pipeline.lab.benchmarks.random_models import build_config, build_stock_model, family_tokenizer

    shape = SHAPES[options.model_shape]
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = family_tokenizer(shape.family)
    model = build_stock_model(build_config(shape, tokenizer), device=device, dtype=torch.bfloat16)
    model.save_pretrained(options.folder)
    tokenizer.save_pretrained(options.folder)
    num_bytes = sum(path.stat().st_size for path in options.folder.iterdir())
    print(f"{options.model_shape}: {num_bytes / 1e9:.1f} GB in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
