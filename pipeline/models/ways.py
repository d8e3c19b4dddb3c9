"""How a loaded model computes on its devices, in words: for a run's record and for the doctor's card."""

from collections.abc import Sequence
from typing import Any

import torch

from pipeline.models.devices.fp8_setup import fp8_layers_of
from pipeline.models.fast_paths import FastPaths
from pipeline.models.fusion.setup import fusion_of


def describe_ways(model: Any, paths: FastPaths, devices: Sequence[torch.device]) -> dict[str, str]:
    """Which of the faster ways have been taken; the same words wherever the same was found.

    Args:
        model: stock, as loading has left it.
        paths: of its adapter.
        devices: that it lies on.
    """
    fusion, narrow = fusion_of(model), fp8_layers_of(model)
    vision = getattr(model.config, "vision_config", None)
    return {
        "devices": _name(devices),
        "dtype": str(model.dtype).removeprefix("torch."),
        "vision_attention": str(getattr(vision, "_attn_implementation", "unknown")),
        "fusion": "off" if fusion is None else fusion.summary,
        "quantization": "off" if narrow is None else f"fp8: {narrow.num_layers} linear layers",
        **paths.describe(),
    }


def _name(devices: Sequence[torch.device]) -> str:
    """Kinds, not numbers: workers of one kind are counted together."""
    if devices[0].type != "cuda":
        return devices[0].type
    return f"{len(devices)} x {torch.cuda.get_device_name(devices[0])}"
