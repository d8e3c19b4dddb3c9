"""Configurations of published checkpoints, rebuilt: sizes only, no downloads."""

from typing import Any

from transformers import Glm4vConfig, Glm4vMoeConfig, LlavaOnevisionConfig, Qwen2_5_VLConfig


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


def llava_onevision_7b() -> Any:
    """Qwen2-7B with a few more tokens; the tower is the stock configuration's."""
    text = {"model_type": "qwen2", "vocab_size": 152_000, "hidden_size": 3_584, "intermediate_size": 18_944}
    text |= {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
    return LlavaOnevisionConfig(text_config=text)


def glm_4_1v_9b() -> Any:
    """Also GLM-4.6V-Flash; the stock configuration's sizes."""
    return Glm4vConfig()


def glm_4_5v() -> Any:
    """Also GLM-4.6V."""
    text = {"vocab_size": 151_552, "hidden_size": 4_096, "intermediate_size": 10_944, "num_hidden_layers": 46}
    text |= {"num_attention_heads": 96, "num_key_value_heads": 8, "head_dim": 128, "attention_bias": True}
    text |= {"n_routed_experts": 128, "num_experts_per_tok": 8, "n_shared_experts": 1, "first_k_dense_replace": 1}
    return Glm4vMoeConfig(
        text_config=text | {"moe_intermediate_size": 1_408}, vision_config={"intermediate_size": 10_944}
    )
