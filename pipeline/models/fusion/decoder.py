"""Fused forward calls of language models: what stock modules do, in the same order, with regions where they have steps.

Each builder takes a stock module and returns what stands in for its ``forward``. Parameters, caches and attention
stay the module's own. Shape suffixes as in ``formulas``; G = key heads.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pipeline.models.fusion.places import add_at, as_mask
from pipeline.models.fusion.regions import Regions
from pipeline.models.fusion.stream import Pending, add_norm_of, enter, rows

Forward = Callable[..., Any]


def fuse_decoder_layer(layer: Any, regions: Regions, *, hands_on: bool) -> Forward:
    """Norms take in the update before them.

    Args:
        layer: a stock decoder layer with two norms.
        regions: by name.
        hands_on: whether the next module takes ``Pending``.
    """
    enter_norm = add_norm_of(layer.input_layernorm, regions)
    middle_norm = add_norm_of(layer.post_attention_layernorm, regions)

    def forward(hidden_states: Tensor | Pending, **kwargs: Any) -> Tensor | Pending:
        stream, normed = enter(hidden_states, layer.input_layernorm, enter_norm)
        attended, _ = layer.self_attn(hidden_states=normed, **kwargs)
        stream, normed = middle_norm(Pending(stream, attended))
        update = layer.mlp(normed)
        update = update[0] if isinstance(update, tuple) else update  # experts hand out their router's choice, too
        return Pending(stream, update) if hands_on else stream + update

    return forward


def fuse_attention(module: Any, regions: Regions) -> Forward:
    """Rotary positions of queries and of keys as one region each, with the heads' norms where there are any."""
    has_norms = hasattr(module, "q_norm")
    eager = import_module(type(module).__module__).eager_attention_forward
    stock = type(module).forward

    def place(heads_1TAS: Tensor, norm: Any, cos_1TS: Tensor, sin_1TS: Tensor) -> Tensor:
        angles = cos_1TS[0], sin_1TS[0]
        if has_norms:
            placed = regions["norm_rotate"](heads_1TAS[0], norm.weight, norm.variance_epsilon, *angles)
        else:
            placed = regions["rotate"](heads_1TAS[0], *angles)
        return placed[None].transpose(1, 2)  # type: ignore[no-any-return]

    def forward(
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if hidden_states.shape[0] != 1:  # angles of several rows differ
            return stock(
                module, hidden_states, position_embeddings=position_embeddings, attention_mask=attention_mask, **kwargs
            )
        caches = [kwargs.pop(name, None) for name in ("cache", "past_key_values")]
        shape = hidden_states.shape[:-1]
        query, key, value = (
            projection(hidden_states).view(*shape, -1, module.head_dim)
            for projection in (module.q_proj, module.k_proj, module.v_proj)
        )
        query = place(query, getattr(module, "q_norm", None), *position_embeddings)
        key, value = place(key, getattr(module, "k_norm", None), *position_embeddings), value.transpose(1, 2)
        for cache in caches:
            if cache is not None:
                key, value = cache.update(key, value, module.layer_idx)
        if hasattr(module, "sliding_window"):
            kwargs["sliding_window"] = module.sliding_window
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(module.config._attn_implementation, eager)
        attended, weights = attend(
            module, query, key, value, attention_mask, dropout=0.0, scaling=module.scaling, **kwargs
        )
        return module.o_proj(attended.reshape(*shape, -1).contiguous()), weights

    return forward


def fuse_gated_mlp(module: Any, regions: Regions) -> Forward:
    """The gate's activation and the product behind it."""
    gated_silu = regions["gated_silu"]

    def forward(hidden_states: Tensor) -> Tensor:
        gate, up = module.gate_proj(hidden_states), module.up_proj(hidden_states)
        product: Tensor = module.down_proj(gated_silu(rows(gate), rows(up)).view(gate.shape))
        return product

    return forward


def fuse_rms_norm(module: Any, regions: Regions) -> Forward:
    """A norm on its own."""
    region = regions["rms_norm"]

    def forward(hidden_states: Tensor) -> Tensor:
        normed: Tensor = region(rows(hidden_states), module.weight, module.variance_epsilon)
        return normed.view(hidden_states.shape)

    return forward


def fuse_deepstack(module: Any, regions: Regions) -> Forward:
    """Features go where they belong without a boolean index, for which the host would wait; by mask or by places."""
    region, stock = regions["add_deepstack"], type(module)._deepstack_process

    def add(hidden_states: Tensor | Pending, visual_pos_masks: Tensor, visual_embeds: Tensor) -> Any:
        if not len(visual_embeds):
            return hidden_states
        if not isinstance(hidden_states, Pending):
            by_mask = visual_pos_masks.dtype is torch.bool
            return (partial(stock, module) if by_mask else add_at)(hidden_states, visual_pos_masks, visual_embeds)
        stream = hidden_states.stream
        is_visual_T = as_mask(visual_pos_masks, len(rows(stream)), stream.device)
        place_T = (torch.cumsum(is_visual_T, 0) - 1).clamp_(min=0)
        features_ND = visual_embeds.to(stream.device, stream.dtype)
        total_TD = region(rows(stream), rows(hidden_states.update), is_visual_T, place_T, features_ND)
        return total_TD.view(stream.shape)

    return add
