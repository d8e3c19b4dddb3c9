"""One tiny random checkpoint per family, in float32: ``model_type`` -> stock model and tokenizer.

A family is registered with its row in ``pipeline.models.registry`` and its builder here.
"""

from collections.abc import Callable
from typing import Any

import torch

from pipeline.lab.demo_training.architecture import build_demo_model
from pipeline.lab.demo_training.vocabulary import build_tokenizer as build_demo_tokenizer
from tests.unit.models.internvl import tiny_internvl
from tests.unit.models.qwen3 import conftest as tiny_qwen3


def _build_qwen2_5_vl() -> tuple[Any, Any]:
    tokenizer = build_demo_tokenizer()
    model = build_demo_model(tokenizer, seed=5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval(), tokenizer


def _build_qwen3_vl() -> tuple[Any, Any]:
    tokenizer = tiny_qwen3.build_tokenizer()
    return tiny_qwen3.build_model(tokenizer, kind="small", seed=10), tokenizer


def _build_internvl() -> tuple[Any, Any]:
    tokenizer = tiny_internvl.build_tokenizer()
    return tiny_internvl.build_model(tokenizer), tokenizer


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen2_5_vl": _build_qwen2_5_vl,
    "qwen3_vl": _build_qwen3_vl,
    "internvl": _build_internvl,
}
