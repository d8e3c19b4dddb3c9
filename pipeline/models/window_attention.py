"""Vision attention for many small windows at once, behind the public attention interface of transformers.

The stock path without a variable-length kernel loops over windows in Python. Windows of one length are independent rows
of a batch, so one call per distinct length gives the same numbers.

Shape suffixes:
- A = attention heads, L = patches of all windows, D = head size
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

# The word "flash" makes transformers hand over the window bounds (`cu_seq_lens_q`) instead of looping itself.
WINDOW_ATTENTION = "adapttoken_windows_flash"


def window_attention(
    module: nn.Module,
    query_1ALD: Tensor,
    key_1ALD: Tensor,
    value_1ALD: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend inside each window ``[cu_seq_lens_q[i], cu_seq_lens_q[i + 1])``; returns ``(1, L, A, D)``."""
    lengths = (cu_seq_lens_q[1:] - cu_seq_lens_q[:-1]).tolist()
    if len(set(lengths)) == 1:
        return _attend_equal(query_1ALD, key_1ALD, value_1ALD, length=lengths[0], scaling=scaling), None
    starts = cu_seq_lens_q[:-1].tolist()
    output_1LAD = torch.empty_like(query_1ALD.transpose(1, 2))
    for length in sorted(set(lengths)):
        chosen = [start for start, n in zip(starts, lengths, strict=True) if n == length]
        index = (torch.tensor(chosen)[:, None] + torch.arange(length)).flatten().to(query_1ALD.device)
        parts = (tensor.index_select(2, index) for tensor in (query_1ALD, key_1ALD, value_1ALD))
        output_1LAD = output_1LAD.index_copy(1, index, _attend_equal(*parts, length=length, scaling=scaling))
    return output_1LAD, None


def _attend_equal(query: Tensor, key: Tensor, value: Tensor, *, length: int, scaling: float) -> Tensor:
    _, heads, total, size = query.shape
    shape = (heads, total // length, length, size)
    q, k, v = (tensor[0].view(shape).transpose(0, 1) for tensor in (query, key, value))
    attended = nn.functional.scaled_dot_product_attention(q, k, v, scale=scaling)
    return attended.transpose(1, 2).reshape(1, total, heads, size)


AttentionInterface.register(WINDOW_ATTENTION, window_attention)
