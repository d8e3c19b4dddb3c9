"""Published model shapes written out, so that speed is measured without a download; ``random_models`` builds them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """One checkpoint's sizes.

    Attributes:
        family: ``model_type``, a key of ``FAMILIES``.
        settings: keyword arguments of the family's configuration, but for token ids.
    """

    family: str
    settings: Mapping[str, Any]


def _qwen2_5_vl(*, vision: Mapping[str, Any] | None = None, is_tied: bool = False, **text: Any) -> ModelShape:
    """Every published size shares the vision tower but for two widths."""
    shared_text = {
        "max_position_embeddings": 128_000,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }
    shared_vision = {
        "depth": 32,
        "hidden_size": 1_280,
        "intermediate_size": 3_420,
        "num_heads": 16,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "out_hidden_size": text["hidden_size"],
    }
    settings = {
        "text_config": shared_text | text,
        "vision_config": shared_vision | dict(vision or {}),
        "tie_word_embeddings": is_tied,
    }
    return ModelShape(family="qwen2_5_vl", settings=settings)


_QWEN3_VL_8B = ModelShape(
    family="qwen3_vl",
    settings={
        "text_config": {
            "vocab_size": 151_936,
            "hidden_size": 4_096,
            "intermediate_size": 12_288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 262_144,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [24, 20, 20],
                "mrope_interleaved": True,
            },
        },
        "vision_config": {
            "depth": 27,
            "hidden_size": 1_152,
            "intermediate_size": 4_304,
            "num_heads": 16,
            "patch_size": 16,
            "out_hidden_size": 4_096,
            "num_position_embeddings": 2_304,
            "deepstack_visual_indexes": [8, 16, 24],
        },
        "tie_word_embeddings": False,
    },
)
_INTERNVL3_8B = ModelShape(
    family="internvl",
    settings={
        "text_config": {
            "model_type": "qwen2",
            "vocab_size": 151_674,
            "hidden_size": 3_584,
            "intermediate_size": 18_944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "max_position_embeddings": 32_768,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6},
        },
        "vision_config": {
            "hidden_size": 1_024,
            "intermediate_size": 4_096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "attention_bias": True,
            "image_size": 448,
            "patch_size": 14,
        },
        "tie_word_embeddings": False,
    },
)
SHAPES: Mapping[str, ModelShape] = MappingProxyType(
    {
        "qwen2.5-vl-3b": _qwen2_5_vl(
            is_tied=True,
            vocab_size=151_936,
            hidden_size=2_048,
            intermediate_size=11_008,
            num_hidden_layers=36,
            num_attention_heads=16,
            num_key_value_heads=2,
        ),
        "qwen2.5-vl-7b": _qwen2_5_vl(
            vocab_size=152_064,
            hidden_size=3_584,
            intermediate_size=18_944,
            num_hidden_layers=28,
            num_attention_heads=28,
            num_key_value_heads=4,
        ),
        "qwen2.5-vl-72b": _qwen2_5_vl(
            vision={"intermediate_size": 3_456},
            vocab_size=152_064,
            hidden_size=8_192,
            intermediate_size=29_568,
            num_hidden_layers=80,
            num_attention_heads=64,
            num_key_value_heads=8,
        ),
        "qwen3-vl-8b": _QWEN3_VL_8B,
        "internvl3-8b": _INTERNVL3_8B,
        # No published checkpoint: the same parts, small enough for a CPU.
        "tiny": _qwen2_5_vl(
            vision={
                "depth": 4,
                "hidden_size": 192,
                "intermediate_size": 480,
                "num_heads": 4,
                "fullatt_block_indexes": [1, 3],
            },
            vocab_size=4_096,
            hidden_size=384,
            intermediate_size=1_024,
            num_hidden_layers=6,
            num_attention_heads=6,
            num_key_value_heads=2,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
        ),
    }
)
