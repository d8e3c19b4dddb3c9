"""What a fused region computes: single precision inside, one rounding at the end, every value read and written once.

Stock modules round after each of their steps, so these are at least as near to the exact result; ``check`` holds that
on the machine at hand. All work on rows that do not know of each other.

Shape suffixes:
- T = rows (tokens, patches), D = width, A = heads, S = head size, N = visual tokens, 2 = queries and keys
"""

import torch
from torch import Tensor
from torch.nn import functional


def wide(values: Tensor) -> Tensor:
    """At least single precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def rms_norm(stream_TD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """Root mean square norm (Zhang and Sennrich 2019)."""
    return _normed(wide(stream_TD), weight_D, eps).to(stream_TD.dtype)


def add_rms_norm(stream_TD: Tensor, update_TD: Tensor, weight_D: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The residual stream with its update, and the norm of that."""
    total_TD = wide(stream_TD) + wide(update_TD)
    return total_TD.to(stream_TD.dtype), _normed(total_TD, weight_D, eps).to(stream_TD.dtype)


def add_layer_norm(
    stream_TD: Tensor, update_TD: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Likewise with the mean taken off (Ba, Kiros and Hinton 2016)."""
    total_TD = wide(stream_TD) + wide(update_TD)
    return total_TD.to(stream_TD.dtype), _centred(total_TD, weight_D, bias_D, eps).to(stream_TD.dtype)


def scaled_add_rms_norm(
    stream_TD: Tensor, update_TD: Tensor, scale_D: Tensor, weight_D: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """``add_rms_norm`` of an update that a layer scale weighs (Touvron et al. 2021)."""
    total_TD = wide(stream_TD) + wide(update_TD) * wide(scale_D)
    return total_TD.to(stream_TD.dtype), _normed(total_TD, weight_D, eps).to(stream_TD.dtype)


def scaled_add_layer_norm(
    stream_TD: Tensor, update_TD: Tensor, scale_D: Tensor, weight_D: Tensor, bias_D: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Likewise with the mean taken off."""
    total_TD = wide(stream_TD) + wide(update_TD) * wide(scale_D)
    return total_TD.to(stream_TD.dtype), _centred(total_TD, weight_D, bias_D, eps).to(stream_TD.dtype)


def scaled_add(stream_TD: Tensor, update_TD: Tensor, scale_D: Tensor) -> Tensor:
    """The stream after a weighed update."""
    return (wide(stream_TD) + wide(update_TD) * wide(scale_D)).to(stream_TD.dtype)


def gated_silu(gate_TD: Tensor, up_TD: Tensor) -> Tensor:
    """``silu(gate) * up`` (Shazeer 2020)."""
    return (functional.silu(wide(gate_TD)) * wide(up_TD)).to(gate_TD.dtype)


def rotate(heads_TAS: Tensor, cos_TS: Tensor, sin_TS: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021), halves of a head against each other."""
    return _rotated(wide(heads_TAS), cos_TS[:, None], sin_TS[:, None]).to(heads_TAS.dtype)


def rotate_both(heads_T2AS: Tensor, cos_TS: Tensor, sin_TS: Tensor) -> Tensor:
    """Likewise of queries and keys that lie beside each other."""
    return _rotated(wide(heads_T2AS), cos_TS[:, None, None], sin_TS[:, None, None]).to(heads_T2AS.dtype)


def norm_rotate(heads_TAS: Tensor, weight_S: Tensor, eps: float, cos_TS: Tensor, sin_TS: Tensor) -> Tensor:
    """Each head's norm (Qwen3), then its rotary position."""
    normed_TAS = _normed(wide(heads_TAS), weight_S, eps)
    return _rotated(normed_TAS, cos_TS[:, None], sin_TS[:, None]).to(heads_TAS.dtype)


def add_deepstack(
    stream_TD: Tensor, update_TD: Tensor, is_visual_T: Tensor, place_T: Tensor, features_ND: Tensor
) -> Tensor:
    """The stream with its update, and each visual token's deepstack features (Qwen3-VL).

    Args:
        stream_TD: residual stream.
        update_TD: of the layer before.
        is_visual_T: which rows are visual tokens.
        place_T: whose features a row gets; not read elsewhere.
        features_ND: in the order of the visual tokens.
    """
    added_TD = torch.where(is_visual_T[:, None], wide(features_ND[place_T]), 0.0)
    return (wide(stream_TD) + wide(update_TD) + added_TD).to(stream_TD.dtype)


def _normed(values: Tensor, weight: Tensor, eps: float) -> Tensor:
    return values * torch.rsqrt(values.square().mean(-1, keepdim=True) + eps) * wide(weight)


def _centred(values: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return functional.layer_norm(values, (values.shape[-1],), wide(weight), wide(bias), eps)


def _rotated(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Without a concatenation, which a compiler may make a kernel of its own."""
    half = values.shape[-1] // 2
    partner = values.reshape(*values.shape[:-1], 2, half).flip(-2).flatten(-2)
    is_first = torch.arange(2 * half, device=values.device) < half
    return values * wide(cos) + torch.where(is_first, -partner, partner) * wide(sin)
