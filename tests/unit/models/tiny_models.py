"""Every family's tiny random models, in float32.

A family is registered with its row in ``pipeline.models.registry``, its builder and its cases here.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from pipeline.lab.demo_training.vocabulary import build_tokenizer as build_demo_tokenizer
from tests.unit.models.families import internvl, qwen2_5_vl, qwen3_vl, tiny_internvl, tiny_qwen3
from tests.unit.models.families.case import Case


def _build_qwen2_5_vl() -> tuple[Any, Any]:
    tokenizer = build_demo_tokenizer()
    return qwen2_5_vl.build_model(tokenizer), tokenizer


def _build_qwen3_vl() -> tuple[Any, Any]:
    tokenizer = tiny_qwen3.build_tokenizer()
    return tiny_qwen3.build_model(tokenizer, kind="small", seed=10), tokenizer


def _build_internvl() -> tuple[Any, Any]:
    tokenizer = tiny_internvl.build_tokenizer()
    return tiny_internvl.build_model(tokenizer), tokenizer


# ``model_type`` -> stock model and tokenizer
BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen2_5_vl": _build_qwen2_5_vl,
    "qwen3_vl": _build_qwen3_vl,
    "internvl": _build_internvl,
}
CASES: dict[str, tuple[Any, str]] = {
    f"{module.FAMILY}-{shape}": (module, shape)
    for module in (qwen2_5_vl, qwen3_vl, internvl)
    for shape in module.SHAPES
}


@cache
def build_case(name: str) -> Case:
    module, shape = CASES[name]
    built: Case = module.build_case(shape)
    return built


def cases_of(family: str) -> list[str]:
    """Names of a family's cases."""
    return [name for name, (module, _) in CASES.items() if family == module.FAMILY]
