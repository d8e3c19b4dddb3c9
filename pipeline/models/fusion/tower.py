"""Fused forward calls of vision towers, as ``decoder`` has them of language models. Shape suffixes as there."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pipeline.models.fusion.regions import Regions
from pipeline.models.fusion.stream import Pending, add_norm_of, enter, rows

Forward = Callable[..., Any]


def fuse_tower_block(block: Any, regions: Regions, *, hands_on: bool) -> Forward:
    """A block of a Qwen tower; arguments as of ``fuse_decoder_layer``."""
    enter_norm, middle_norm = add_norm_of(block.norm1, regions), add_norm_of(block.norm2, regions)

    def forward(hidden_states: Tensor | Pending, **kwargs: Any) -> Tensor | Pending:
        stream, normed = enter(hidden_states, block.norm1, enter_norm)
        stream, normed = middle_norm(Pending(stream, block.attn(normed, **kwargs)))
        update = block.mlp(normed)
        return Pending(stream, update) if hands_on else stream + update

    return forward


def fuse_tower_attention(module: Any, regions: Regions) -> Forward:
    """Rotary positions of queries and keys, which lie side by side, as one region."""
    rotate_both, stock = regions["rotate_both"], type(module).forward

    def forward(
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        max_seqlen: int | None = None,
        **kwargs: Any,
    ) -> Any:
        implementation = module.config._attn_implementation
        if max_seqlen is None or "flash" not in implementation:  # stock code goes over the pieces one by one
            known = {"position_embeddings": position_embeddings, "max_seqlen": max_seqlen}
            return stock(module, hidden_states, cu_seqlens=cu_seqlens, **known, **kwargs)
        num_rows = len(hidden_states)
        heads_T3AS = module.qkv(hidden_states).view(num_rows, 3, module.num_heads, -1)
        query_TAS, key_TAS = rotate_both(heads_T3AS[:, :2], *position_embeddings).unbind(1)
        query, key, value = (heads.transpose(0, 1)[None] for heads in (query_TAS, key_TAS, heads_T3AS[:, 2]))
        attend = ALL_ATTENTION_FUNCTIONS[implementation]
        attended, _ = attend(
            module,
            query,
            key,
            value,
            attention_mask=None,
            scaling=module.scaling,
            dropout=0.0,
            cu_seq_lens_q=cu_seqlens,
            cu_seq_lens_k=cu_seqlens,
            max_length_q=max_seqlen,
            max_length_k=max_seqlen,
            is_causal=False,
            **kwargs,
        )
        return module.proj(attended.reshape(num_rows, -1).contiguous())

    return forward


def fuse_scaled_layer(layer: Any, regions: Regions, *, hands_on: bool) -> Forward:
    """A layer of InternVL's tower: a layer scale weighs what attention and feed-forward add."""
    enter_norm = add_norm_of(layer.layernorm_before, regions, is_scaled=True)
    middle_norm = add_norm_of(layer.layernorm_after, regions, is_scaled=True)
    scaled_add = regions["scaled_add"]

    def forward(hidden_states: Tensor | Pending) -> Tensor | Pending:
        stream, normed = enter(hidden_states, layer.layernorm_before, enter_norm)
        attended, _ = layer.attention(normed)
        stream, normed = middle_norm(Pending(stream, attended, layer.lambda_1))
        update = layer.dropout(layer.mlp(normed))
        if hands_on:
            return Pending(stream, update, layer.lambda_2)
        total: Tensor = scaled_add(rows(stream), rows(update), layer.lambda_2)
        return total.view(stream.shape)

    return forward
