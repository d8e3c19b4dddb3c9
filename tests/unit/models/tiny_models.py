"""Every family's tiny random models, in float32.

A family is registered with its row in ``pipeline.models.registry``, its builder and its cases here.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from pipeline.lab.demo_training.vocabulary import build_tokenizer as build_demo_tokenizer
from tests.unit.models.families import (
    glm4v,
    internvl,
    llava_onevision,
    qwen2_5_vl,
    qwen3_5,
    qwen3_vl,
    tiny_glm,
    tiny_internvl,
    tiny_llava,
    tiny_qwen3,
    tiny_qwen3_5,
)
from tests.unit.models.families.case import Case


def _build_qwen2_5_vl() -> tuple[Any, Any]:
    tokenizer = build_demo_tokenizer()
    return qwen2_5_vl.build_model(tokenizer), tokenizer


def _build_qwen3_vl() -> tuple[Any, Any]:
    tokenizer = tiny_qwen3.build_tokenizer()
    return tiny_qwen3.build_model(tokenizer, kind="small", seed=10), tokenizer


def _build_qwen3_vl_moe() -> tuple[Any, Any]:
    tokenizer = tiny_qwen3.build_tokenizer()
    return tiny_qwen3.build_model(tokenizer, kind="experts", seed=10), tokenizer


def _build_qwen3_5() -> tuple[Any, Any]:
    tokenizer = tiny_qwen3_5.build_tokenizer()
    return tiny_qwen3_5.build_model(tokenizer, kind="small", seed=10), tokenizer


def _build_qwen3_5_moe() -> tuple[Any, Any]:
    tokenizer = tiny_qwen3_5.build_tokenizer()
    return tiny_qwen3_5.build_model(tokenizer, kind="experts", seed=10), tokenizer


def _build_internvl() -> tuple[Any, Any]:
    tokenizer = tiny_internvl.build_tokenizer()
    return tiny_internvl.build_model(tokenizer), tokenizer


def _build_glm(shape: str) -> tuple[Any, Any]:
    tokenizer = tiny_glm.build_tokenizer(shape)
    return tiny_glm.build_model(tokenizer, shape=shape, seed=13), tokenizer


def _build_llava_onevision() -> tuple[Any, Any]:
    tokenizer = tiny_llava.build_tokenizer()
    return tiny_llava.build_model(tokenizer), tokenizer


# ``model_type`` -> stock model and tokenizer
BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "qwen2_5_vl": _build_qwen2_5_vl,
    "qwen3_vl": _build_qwen3_vl,
    "qwen3_vl_moe": _build_qwen3_vl_moe,
    "qwen3_5": _build_qwen3_5,
    "qwen3_5_moe": _build_qwen3_5_moe,
    "internvl": _build_internvl,
    "glm4v": partial(_build_glm, "dense"),
    "glm4v_moe": partial(_build_glm, "experts"),
    "glm46v": partial(_build_glm, "seconds"),
    "llava_onevision": _build_llava_onevision,
}
# name -> module that builds it, shape
CASES: dict[str, tuple[Any, str]] = {
    "qwen2_5_vl-demo": (qwen2_5_vl, "demo"),
    "qwen2_5_vl-wide": (qwen2_5_vl, "wide"),
    "qwen3_vl-small": (qwen3_vl, "small"),
    "qwen3_vl-wide": (qwen3_vl, "wide"),
    "qwen3_vl_moe-experts": (qwen3_vl, "experts"),
    "qwen3_5-small": (qwen3_5, "small"),
    "qwen3_5-pattern": (qwen3_5, "pattern"),
    "qwen3_5_moe-experts": (qwen3_5, "experts"),
    "internvl-qwen2-text": (internvl, "qwen2-text"),
    "internvl-qwen3-text": (internvl, "qwen3-text"),
    "internvl-qwen3-moe-text": (internvl, "qwen3-moe-text"),
    "internvl-llama-text": (internvl, "llama-text"),
    "glm4v-dense": (glm4v, "dense"),
    "glm4v_moe-experts": (glm4v, "experts"),
    "glm46v-seconds": (glm4v, "seconds"),
    "llava_onevision-even": (llava_onevision, "even"),
    "llava_onevision-odd": (llava_onevision, "odd"),
}
# of a model that a case above shows already, under another name or shape: light tests alone, by default
REPEATS = frozenset({"qwen3_5-pattern", "qwen3_5_moe-experts", "glm46v-seconds", "llava_onevision-even"})


@cache
def build_case(name: str) -> Case:
    module, shape = CASES[name]
    built: Case = module.build_case(shape)
    return built


def cases_of(module: str) -> list[str]:
    """Names of the cases that a module of ``families`` builds."""
    return [name for name, (builder, _) in CASES.items() if builder.__name__.endswith(f".{module}")]
