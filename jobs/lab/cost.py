"""What each stage would launch on a GPU at a published shape, counted without one, and the seconds it is predicted."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.lab.benchmarks.model_shapes import SHAPES

_SHAPES = ("qwen2.5-vl-7b", "qwen3-vl-8b", "internvl3-8b")


def build_parser() -> argparse.ArgumentParser:
    """Options of one count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-shape", choices=SHAPES, action="append", help=f"default: {', '.join(_SHAPES)}")
    parser.add_argument("--questions", default="1,4,16", help="asked of a group, such as 1,4,16")
    parser.add_argument("--num-frames", type=int, default=64, help="of a group")
    parser.add_argument("--memory-share", type=float, default=0.8, help="of 4.8 TB/s that streaming kernels reach")
    parser.add_argument("--matrix-share", type=float, default=0.8, help="of 989 TFLOP/s that a large product reaches")
    parser.add_argument("--fp8", action="store_true", help="count model.quantization=fp8, too")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, predict, print."""
    options = build_parser().parse_args(arguments)

    from pipeline.lab.cost.report import describe_machine, format_fp8_table, format_table
    from pipeline.lab.cost.roofline import CAUTIOUS, GpuRates
    from pipeline.lab.cost.stages import CostCase, count_stages

    counts = tuple(int(count) for count in options.questions.split(","))
    machine = GpuRates(memory_share=options.memory_share, matrix_share=options.matrix_share)
    texts = [describe_machine(machine), describe_machine(CAUTIOUS), ""]
    for shape in options.model_shape or _SHAPES:
        before = CostCase(shape=shape, is_fused=False, num_frames=options.num_frames, question_counts=counts)
        after = replace(before, is_fused=True)
        counted = count_stages(after)
        texts.append(format_table(count_stages(before), counted, machine))
        if options.fp8:
            texts.append(format_fp8_table(counted, count_stages(replace(after, is_fp8=True)), machine))
        print(*texts[-2:] if options.fp8 else texts[-1:], sep="\n", flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(texts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
