"""``bench.py model``: options, one measurement of ``pipeline.lab.benchmarks.model_speed``, JSON and Markdown."""

import argparse
import json
from pathlib import Path

from pipeline.lab.benchmarks.model_shapes import SHAPES

_DTYPES = ("bfloat16", "float32")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of one measurement."""
    parser.add_argument("--model-shape", choices=SHAPES, required=True)
    parser.add_argument("--random-weights", action="store_true", required=True, help="the only kind: no download")
    parser.add_argument("--num-frames", type=int, default=4_096, help="sampled frames, kept in memory")
    parser.add_argument("--questions", type=_counts, default=(1, 4, 16), help="one run each, such as 1,4,16")
    parser.add_argument("--question-tokens", type=int, default=100, help="options and chat template included")
    parser.add_argument("--resolution", type=_size, default=(308, 560), help="height x width, such as 308x560")
    parser.add_argument("--frames-per-group", type=int, default=64)
    parser.add_argument("--token-budget", type=int, help="default: the visual tokens of one group")
    parser.add_argument("--answer-tokens", type=int, default=2, help="of the final pass; default: a letter and the end")
    parser.add_argument("--question-batch", type=int, help="default: the preset's")
    parser.add_argument("--encode-patches", type=int, help="temporal patches per vision batch; default: the preset's")
    parser.add_argument("--repeats", type=int, default=1, help="runs per number of questions; the fastest counts")
    parser.add_argument("--naive-groups", type=int, default=2, help="groups the baseline is timed on; 0: no baseline")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.add_argument("--dtype", choices=_DTYPES, help="default: bfloat16 on a GPU, float32 elsewhere")
    parser.add_argument("--markdown", type=Path, help="file for the tables")


def run_model(options: argparse.Namespace) -> int:
    """Measure, print the tables, write what was asked for."""
    import torch

    from pipeline.lab.benchmarks.model_figures import SpeedCase
    from pipeline.lab.benchmarks.model_report import format_measurement, to_plain
    from pipeline.lab.benchmarks.model_speed import measure_speed

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = options.dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    height, width = options.resolution
    case = SpeedCase(
        shape=options.model_shape,
        num_frames=options.num_frames,
        question_counts=options.questions,
        question_tokens=options.question_tokens,
        height=height,
        width=width,
        frames_per_group=options.frames_per_group,
        token_budget=options.token_budget,
        answer_tokens=options.answer_tokens,
        question_batch=options.question_batch,
        encode_patches=options.encode_patches,
        repeats=options.repeats,
        naive_groups=options.naive_groups,
        device=device,
        dtype=getattr(torch, dtype),
    )
    plain = to_plain(measure_speed(case))
    table = format_measurement(plain)
    print(table, end="")
    if options.output:
        options.output.write_text(json.dumps(plain, indent=2) + "\n")
    if options.markdown:
        options.markdown.write_text(table)
    return 0


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be whole numbers such as 1,4,16, got {text!r}") from error
    if min(counts) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 question, got {text!r}")
    return tuple(sorted(counts))


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"must be height x width in pixels such as 308x560, got {text!r}")
    return int(height), int(width)
