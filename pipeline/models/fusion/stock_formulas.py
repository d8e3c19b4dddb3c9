"""The same regions as stock transformers computes them: step by step, each rounded to the type it is in.

A fused region is taken only if it is no further from the exact result than these. Shape suffixes as in ``formulas``.
"""

import torch
from torch import Tensor
from torch.nn import functional


def rms_norm(stream_TD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """``Qwen2RMSNorm`` and its copies: single precision inside, the weight after rounding."""
    single_TD = stream_TD.to(_norm_type(stream_TD))
    single_TD = single_TD * torch.rsqrt(single_TD.pow(2).mean(-1, keepdim=True) + eps)
    return weight_D * single_TD.to(stream_TD.dtype)


def add_rms_norm(stream_TD: Tensor, update_TD: Tensor, weight_D: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Two statements of a decoder layer."""
    total_TD = stream_TD + update_TD
    return total_TD, rms_norm(total_TD, weight_D, eps)


def add_layer_norm(
    stream_TD: Tensor, update_TD: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Two statements of ``Qwen3VLVisionBlock``."""
    total_TD = stream_TD + update_TD
    return total_TD, functional.layer_norm(total_TD, (total_TD.shape[-1],), weight_D, bias_D, eps)


def scaled_add_rms_norm(
    stream_TD: Tensor, update_TD: Tensor, scale_D: Tensor, weight_D: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Three statements of ``InternVLVisionLayer`` with root mean square norms."""
    return add_rms_norm(stream_TD, scale_D * update_TD, weight_D, eps)


def scaled_add_layer_norm(
    stream_TD: Tensor, update_TD: Tensor, scale_D: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Likewise with layer norms."""
    return add_layer_norm(stream_TD, scale_D * update_TD, weight_D, bias_D, eps)


def scaled_add(stream_TD: Tensor, update_TD: Tensor, scale_D: Tensor) -> Tensor:
    """Its last two."""
    return scale_D * update_TD + stream_TD


def gated_silu(gate_TD: Tensor, up_TD: Tensor) -> Tensor:
    """``Qwen2MLP`` and its copies."""
    return functional.silu(gate_TD) * up_TD


def rotate(heads_TAS: Tensor, cos_TS: Tensor, sin_TS: Tensor) -> Tensor:
    """``apply_rotary_pos_emb``: in the working type."""
    return heads_TAS * cos_TS[:, None] + _rotate_half(heads_TAS) * sin_TS[:, None]


def rotate_both(heads_T2AS: Tensor, cos_TS: Tensor, sin_TS: Tensor) -> Tensor:
    """``apply_rotary_pos_emb_vision``: in single precision."""
    cos, sin = cos_TS[:, None, None], sin_TS[:, None, None]
    single = heads_T2AS.to(_norm_type(heads_T2AS))
    return (single * cos + _rotate_half(single) * sin).to(heads_T2AS.dtype)


def norm_rotate(heads_TAS: Tensor, weight_S: Tensor, eps: float, cos_TS: Tensor, sin_TS: Tensor) -> Tensor:
    """``Qwen3Attention`` and its copies."""
    return rotate(rms_norm(heads_TAS, weight_S, eps), cos_TS, sin_TS)


def add_deepstack(
    stream_TD: Tensor, update_TD: Tensor, is_visual_T: Tensor, place_T: Tensor, features_ND: Tensor
) -> Tensor:
    """The last statement of a decoder layer and ``_deepstack_process``."""
    total_TD = stream_TD + update_TD
    total_TD[is_visual_T] = total_TD[is_visual_T] + features_ND
    return total_TD


def _norm_type(values: Tensor) -> torch.dtype:
    """Single precision; what is exact stays it."""
    return torch.promote_types(values.dtype, torch.float32)


def _rotate_half(values: Tensor) -> Tensor:
    first, second = values.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
