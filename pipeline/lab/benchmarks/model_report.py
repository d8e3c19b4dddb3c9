"""What a measurement says: plain values for a JSON file, and tables for docs/results.md."""

import platform
from collections.abc import Sequence
from typing import Any

import torch
import transformers

from pipeline.lab.benchmarks.model_figures import RunFigures, SpeedFigures, StageFigures
from pipeline.results.tables import pipe_rows

_TERA, _GIGA = 1e12, 1e9


def to_plain(figures: SpeedFigures) -> dict[str, Any]:
    """Every figure, with what was measured and on what."""
    case, naive = figures.case, figures.naive
    return {
        "machine": platform.platform(),
        "device": _device_name(case.device),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "torch_threads": torch.get_num_threads(),
        "dtype": str(case.dtype).removeprefix("torch."),
        "model_shape": case.shape,
        "parameters": figures.parameters,
        "num_frames": case.num_frames,
        "frame_size": list(figures.size),
        "frames_per_group": case.frames_per_group,
        "num_groups": figures.num_groups,
        "visual_tokens": figures.visual_tokens,
        "token_budget": figures.token_budget,
        "question_tokens": case.question_tokens,
        "question_batch": figures.question_batch,
        "answer_tokens": case.answer_tokens,
        "repeats": case.repeats,
        "matmul_peak_tflops": figures.matmul_peak / _TERA,
        "runs": [_plain_run(figures, run) for run in figures.runs],
        "naive": None
        if naive is None
        else {
            "pass_s": naive.pass_s,
            "num_timed": naive.num_timed,
            "preprocessing": naive.preprocessing,
            "peak_memory_bytes": naive.peak_bytes,
            "problem": naive.problem,
        },
    }


def _plain_run(figures: SpeedFigures, run: RunFigures) -> dict[str, Any]:
    naive_s = figures.naive_s(run)
    floor_s = run.flops / figures.matmul_peak
    return {
        "num_questions": run.num_questions,
        "total_s": run.wall_s,
        "floor_flops": run.flops,
        "floor_s": floor_s,
        "share_of_floor": floor_s / run.wall_s,
        "frames_per_s": figures.case.num_frames / run.wall_s,
        "visual_tokens_per_s": figures.visual_tokens / run.wall_s,
        "times_one_question": run.wall_s / figures.runs[0].wall_s if figures.runs[0].num_questions == 1 else None,
        "floor_times_one_question": run.flops / figures.runs[0].flops if figures.runs[0].num_questions == 1 else None,
        "peak_memory_bytes": run.peak_bytes,
        "final_tokens": list(run.final_tokens),
        "naive_s": naive_s,
        "largest_score_difference_to_naive": run.naive_difference,
        "naive_to_ours": None if naive_s is None else naive_s / run.wall_s,
        "stages": {name: _plain_stage(figures, stage) for name, stage in run.stages.items()},
    }


def _plain_stage(figures: SpeedFigures, stage: StageFigures) -> dict[str, Any]:
    return {
        "seconds": stage.seconds,
        "tokens": stage.tokens,
        "tokens_per_s": stage.tokens / stage.seconds if stage.tokens else None,
        "floor_flops": stage.flops,
        "tflops": stage.flops / stage.seconds / _TERA if stage.flops else None,
        "share_of_floor": stage.flops / stage.seconds / figures.matmul_peak if stage.flops else None,
    }


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{device} ({platform.machine()})"


def format_measurement(plain: dict[str, Any]) -> str:
    """Two tables, end to end and by stage, with what they mean."""
    height, width = plain["frame_size"]
    lines = [
        f"### {plain['model_shape']}, {plain['num_frames']:,} frames of {height} x {width}, {plain['dtype']}",
        "",
        f"Random weights ({plain['parameters'] / _GIGA:.2f} B parameters) on {plain['device']}, "
        f"{plain['torch_threads']} CPU threads, torch {plain['torch']}, transformers {plain['transformers']}. "
        f"{plain['num_groups']} groups of {plain['frames_per_group']} frames, "
        f"{plain['visual_tokens']:,} visual tokens, {plain['token_budget']:,} in the final pass, questions of "
        f"{plain['question_tokens']} tokens in batches of {plain['question_batch']}, {plain['answer_tokens']} answer "
        f"tokens. Frames in memory to answers, the fastest of {plain['repeats']} after a warm-up. The floor is "
        "the method's matrix arithmetic at the "
        f"{plain['matmul_peak_tflops']:.3g} TFLOP/s that one large matrix product reached just before. Peak memory is "
        "the GPU allocator's; on a CPU the process's so far.",
        "",
        *_end_to_end(plain),
        "",
        *_by_stage(plain["runs"]),
        "",
        *_describe_naive(plain["naive"], plain["num_groups"], plain["runs"]),
    ]
    return "\n".join(lines) + "\n"


def _end_to_end(plain: dict[str, Any]) -> list[str]:
    rows = [
        (
            run["num_questions"],
            f"{run['total_s']:.2f}",
            f"{run['floor_s']:.2f}",
            f"{run['share_of_floor']:.0%}",
            _ratio(run["times_one_question"], run["floor_times_one_question"]),
            f"{run['visual_tokens_per_s']:,.0f}",
            f"{run['peak_memory_bytes'] / _GIGA:.1f}",
            "" if run["naive_s"] is None else f"{run['naive_s']:.1f}",
            "" if run["naive_to_ours"] is None else f"{run['naive_to_ours']:.1f} x",
        )
        for run in plain["runs"]
    ]
    heads = ("questions", "seconds", "floor, s", "share of floor", "times one question (floor)", "visual tokens/s")
    return pipe_rows(rows, header=(*heads, "peak memory, GB", "naive, s", "naive / this"))


def _by_stage(runs: Sequence[dict[str, Any]]) -> list[str]:
    rows = []
    for run in runs:
        for name, stage in run["stages"].items():
            has_flops = stage["tflops"] is not None
            rows.append(
                (
                    run["num_questions"],
                    name,
                    f"{stage['seconds']:.3f}",
                    f"{stage['seconds'] / run['total_s']:.1%}",
                    f"{stage['tokens_per_s']:,.0f}" if stage["tokens"] else "",
                    f"{stage['tflops']:.3g}" if has_flops else "",
                    f"{stage['share_of_floor']:.0%}" if has_flops else "",
                )
            )
    heads = ("questions", "stage", "seconds", "share of time", "tokens/s", "TFLOP/s", "share of matmul peak")
    return pipe_rows(rows, header=heads)


def _describe_naive(naive: dict[str, Any] | None, num_groups: int, runs: Sequence[dict[str, Any]]) -> list[str]:
    if naive is None:
        return ["Naive baseline: not measured."]
    what = "one full eager forward pass with all attention weights per question and group, nothing reused"
    if naive["pass_s"] is None:
        return [f"Naive baseline ({what}): not possible here: {naive['problem']}"]
    return [
        f"Naive baseline: {what}; {naive['pass_s']:.3f} s each, the fastest of {naive['num_timed']} after a warm-up, "
        f"extrapolated to {num_groups} groups and all questions, plus this project's own time for everything after the "
        f"scores. Preprocessing: {naive['preprocessing']}. Peak memory {naive['peak_memory_bytes'] / _GIGA:.1f} GB. "
        f"Largest difference of its entropy and attention to this project's, first group and question: "
        f"{max(run['largest_score_difference_to_naive'] for run in runs):.1e}.",
    ]


def _ratio(measured: float | None, floor: float | None) -> str:
    return "" if measured is None else f"{measured:.2f} ({floor:.2f})"
