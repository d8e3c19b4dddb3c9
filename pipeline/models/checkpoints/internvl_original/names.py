"""From the tensor names of original InternVL folders to native ones, and what becomes of fused projections."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

INTERNLM2 = "internlm2"
_VISION = (
    (r"^vision_model\.embeddings\.class_embedding$", "vision_tower.embeddings.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "vision_tower.embeddings.position_embeddings"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "vision_tower.embeddings.patch_embeddings.projection."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.", r"vision_tower.encoder.layer.\1."),
    (r"\.attn\.proj\.", ".attention.projection_layer."),
    (r"\.attn\.", ".attention."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.ls([12])$", r".lambda_\1"),
)
_PROJECTOR = (
    (r"^mlp1\.0\.", "multi_modal_projector.layer_norm."),
    (r"^mlp1\.1\.", "multi_modal_projector.linear_1."),
    (r"^mlp1\.3\.", "multi_modal_projector.linear_2."),
)
_INTERNLM2 = (
    (r"^language_model\.model\.tok_embeddings\.", "language_model.model.embed_tokens."),
    (r"^language_model\.output\.", "language_model.lm_head."),
    (r"\.attention\.wqkv\.", ".self_attn.qkv."),
    (r"\.attention\.wo\.", ".self_attn.o_proj."),
    (r"\.feed_forward\.w1\.", ".mlp.gate_proj."),
    (r"\.feed_forward\.w2\.", ".mlp.down_proj."),
    (r"\.feed_forward\.w3\.", ".mlp.up_proj."),
    (r"\.attention_norm\.", ".input_layernorm."),
    (r"\.ffn_norm\.", ".post_attention_layernorm."),
)
_FUSED = re.compile(r"\.(?P<block>attention|self_attn)\.qkv\.(?P<kind>weight|bias)$")
_DROPPED = re.compile(r"\.rotary_emb\.inv_freq$")  # computed from the configuration


@dataclass(frozen=True, kw_only=True, slots=True)
class TextHeads:
    """How InternLM2's fused projection is cut.

    Attributes:
        groups: query heads per key head.
    """

    num_key_value_heads: int
    groups: int
    head_dim: int


def native_names(name: str, *, text_type: str) -> tuple[str, ...]:
    """Native names of one original tensor: three of a fused projection, none of what is computed anyway.

    Example: ``vision_model.encoder.layers.3.ls1 -> vision_tower.encoder.layer.3.lambda_1``

    Args:
        name: in the original folder.
        text_type: ``model_type`` of the text model.

    Raises:
        ValueError: A tensor of another model.
    """
    if _DROPPED.search(name):
        return ()
    native = _rename(name, text_type)
    if not (fused := _FUSED.search(native)):
        return (native,)
    start = native[: fused.start()]
    return tuple(f"{start}.{fused['block']}.{part}_proj.{fused['kind']}" for part in "qkv")


def native_shapes(name: str, shape: Sequence[int], *, text_type: str, heads: TextHeads) -> dict[str, tuple[int, ...]]:
    """Native names and their shapes, without the values.

    Raises:
        ValueError: As ``native_names``; also for a fused projection that cannot be cut.
    """
    names = native_names(name, text_type=text_type)
    if len(names) != 3:
        return dict.fromkeys(names, tuple(shape))
    if name.startswith("vision_model."):
        rows = [shape[0] // 3] * 3
    else:
        rows = [heads.num_key_value_heads * count * heads.head_dim for count in (heads.groups, 1, 1)]
    if sum(rows) != shape[0]:
        raise ValueError(f"{name} has {shape[0]} rows, its parts would have {rows}")
    return {native: (count, *shape[1:]) for native, count in zip(names, rows, strict=True)}


def to_native(name: str, tensor: Tensor, *, text_type: str, heads: TextHeads) -> dict[str, Tensor]:
    """One original tensor as native ones.

    A vision tower's ``qkv`` holds three equal parts, ``(3 · hidden, …)``. InternLM2's ``wqkv`` holds, for each key
    head, its queries, its key and its value: ``(kv_heads · (groups + 2) · head_dim, …)``.
    """
    names = native_names(name, text_type=text_type)
    if len(names) != 3:
        return dict.fromkeys(names, tensor)
    if name.startswith("vision_model."):
        return {native: part.contiguous() for native, part in zip(names, tensor.chunk(3), strict=True)}
    rest = tensor.shape[1:]
    by_head = tensor.reshape(heads.num_key_value_heads, heads.groups + 2, heads.head_dim, *rest)
    parts = by_head[:, : heads.groups], by_head[:, heads.groups], by_head[:, heads.groups + 1]
    return {native: part.reshape(-1, *rest).contiguous() for native, part in zip(names, parts, strict=True)}


def _rename(name: str, text_type: str) -> str:
    top = name.partition(".")[0]
    if top == "language_model":
        rules: tuple[tuple[str, str], ...] = _INTERNLM2 if text_type == INTERNLM2 else ()
    elif top in ("vision_model", "mlp1"):
        rules = _VISION if top == "vision_model" else _PROJECTOR
    else:
        raise ValueError(f"tensor {name!r} is none of InternVL's: they start with vision_model, mlp1 or language_model")
    native = name
    for pattern, replacement in rules:
        native = re.sub(pattern, replacement, native)
    if native.startswith(("vision_model.", "mlp1.")):
        raise ValueError(f"tensor {name!r} has no native counterpart")
    return native
