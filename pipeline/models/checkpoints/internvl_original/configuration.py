"""From an original InternVL folder's config.json to a native one. The folder's own classes are not run."""

from collections.abc import Mapping
from typing import Any

from transformers import InternVLConfig

from pipeline.models.checkpoints.internvl_original.names import INTERNLM2, TextHeads
from pipeline.models.checkpoints.unknown_families import ORIGINAL_INTERNVL

_TEXT_TYPES = {INTERNLM2: "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3_moe": "qwen3_moe"}
_COMMON_FIELDS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim"),
    *("num_key_value_heads", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps"),
    *("rope_theta", "rope_scaling", "bos_token_id", "eos_token_id", "pad_token_id", "attention_bias"),
)
_EXPERT_FIELDS = (
    *("num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob", "decoder_sparse_step"),
    *("mlp_only_layers", "router_aux_loss_coef"),
)
_VISION_FIELDS = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "num_channels": "num_channels",
    "image_size": "image_size",
    "patch_size": "patch_size",
    "hidden_act": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
    "norm_type": "norm_type",
    "qkv_bias": "attention_bias",
    "qk_normalization": "use_qk_norm",
    "initializer_range": "initializer_range",
}


def text_type_of(original: Mapping[str, Any]) -> str:
    """``model_type`` of the text model.

    Raises:
        ValueError: This is no original InternVL folder, or its text model has no native counterpart.
    """
    if original.get("model_type") != ORIGINAL_INTERNVL:
        raise ValueError(
            f"model_type must be {ORIGINAL_INTERNVL!r}, got {original.get('model_type')!r}: only folders as their "
            "authors publish them are converted"
        )
    text = original.get("llm_config")
    text_type = text.get("model_type") if isinstance(text, dict) else None
    if text_type not in _TEXT_TYPES:
        known = ", ".join(sorted(_TEXT_TYPES))
        raise ValueError(f"llm_config.model_type must be one of {known}, got {text_type!r}")
    return str(text_type)


def heads_of(original: Mapping[str, Any]) -> TextHeads:
    """How the text model's heads share keys."""
    text = original["llm_config"]
    key_heads = int(text.get("num_key_value_heads") or text["num_attention_heads"])
    head_dim = int(text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"])
    return TextHeads(
        num_key_value_heads=key_heads, groups=int(text["num_attention_heads"]) // key_heads, head_dim=head_dim
    )


def to_native_config(original: Mapping[str, Any], *, image_token_id: int, is_tied: bool, end_id: int) -> dict[str, Any]:
    """Content of the native config.json.

    Args:
        original: content of the folder's.
        image_token_id: of ``<IMG_CONTEXT>`` in its tokenizer.
        is_tied: whether there is no output head of its own.
        end_id: of ``<|im_end|>``.

    Raises:
        ValueError: A setting that native InternVL does not have.
    """
    text_type = text_type_of(original)
    if original.get("ps_version", "v2") != "v2":
        raise ValueError(f"ps_version must be 'v2', got {original['ps_version']!r}: native InternVL shuffles pixels so")
    vision = original["vision_config"]
    config = InternVLConfig(
        text_config=_to_native_text(original["llm_config"], text_type, is_tied=is_tied, end_id=end_id),
        vision_config={native: vision[name] for name, native in _VISION_FIELDS.items() if name in vision},
        image_token_id=image_token_id,
        image_seq_length=_tokens_per_image(original),
        downsample_ratio=original.get("downsample_ratio", 0.5),
        vision_feature_layer=original.get("select_layer", -1),
        tie_word_embeddings=is_tied,
        architectures=["InternVLForConditionalGeneration"],
    )
    content: dict[str, Any] = config.to_dict()
    content |= {"tie_word_embeddings": is_tied, "dtype": original.get("torch_dtype") or original.get("dtype")}
    content["text_config"]["tie_word_embeddings"] = is_tied
    return content


def _to_native_text(text: Mapping[str, Any], text_type: str, *, is_tied: bool, end_id: int) -> dict[str, Any]:
    fields = (*_COMMON_FIELDS, *_EXPERT_FIELDS) if text_type == "qwen3_moe" else _COMMON_FIELDS
    native = {name: text[name] for name in fields if text.get(name) is not None}
    native |= {"model_type": _TEXT_TYPES[text_type], "tie_word_embeddings": is_tied, "eos_token_id": end_id}
    if text_type == INTERNLM2:
        native["attention_bias"] = bool(text.get("bias", False))
    elif text_type == "qwen2":
        native.pop("attention_bias", None)  # always has one, on queries, keys and values
    return native


def _tokens_per_image(original: Mapping[str, Any]) -> int:
    vision = original["vision_config"]
    size = original.get("force_image_size") or vision["image_size"]
    return int((size // vision["patch_size"] * original.get("downsample_ratio", 0.5)) ** 2)
