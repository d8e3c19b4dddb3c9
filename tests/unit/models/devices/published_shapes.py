"""Configurations of published checkpoints, rebuilt: sizes only, no downloads."""

from typing import Any

from transformers import Qwen2_5_VLConfig


def qwen2_5_vl(
    *, hidden: int, layers: int, heads: int, key_heads: int, intermediate: int, vision_intermediate: int
) -> Any:
    """Qwen2.5-VL of 7B and more: a vocabulary of 152,064, an output head of its own, one vision tower for all."""
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 152_064,
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": key_heads,
            "max_position_embeddings": 128_000,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1_280,
            "intermediate_size": vision_intermediate,
            "num_heads": 16,
            "out_hidden_size": hidden,
        },
        tie_word_embeddings=False,
    )


def qwen2_5_vl_7b() -> Any:
    return qwen2_5_vl(hidden=3_584, layers=28, heads=28, key_heads=4, intermediate=18_944, vision_intermediate=3_420)


def qwen2_5_vl_72b() -> Any:
    return qwen2_5_vl(hidden=8_192, layers=80, heads=64, key_heads=8, intermediate=29_568, vision_intermediate=3_456)
