"""Vision attention for many small windows at once, behind the public attention interface of transformers.

The stock path without a variable-length kernel loops over windows in Python. Windows of one length are independent rows
of a batch, so one call per distinct length gives the same numbers.

Shape suffixes:
- A = attention heads, L = patches of all windows, D = head size
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from pipeline.models.qwen.vision_windows import Segments

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
    segments: Sequence[Segments] = (),
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend inside each window ``[cu_seq_lens_q[i], cu_seq_lens_q[i + 1])``; returns ``(1, L, A, D)``.

    Args:
        module: not read.
        query_1ALD: of all windows.
        key_1ALD: likewise.
        value_1ALD: likewise.
        attention_mask: not read; windows are whole.
        scaling: factor on q · k.
        cu_seq_lens_q: bounds of the windows.
        segments: what the host knows of those bounds; without them they are read back from the device.
        kwargs: what other attention functions take.
    """
    known = segments_of(cu_seq_lens_q, segments)
    inputs = (query_1ALD, key_1ALD, value_1ALD)
    if known.gather_L is not None:
        query_1ALD, key_1ALD, value_1ALD = (tensor.index_select(2, known.gather_L) for tensor in inputs)
        inputs = (query_1ALD, key_1ALD, value_1ALD)
    ends = list(accumulate(count * length for count, length in known.runs))
    parts = [
        _attend_equal(*(tensor[:, :, end - count * length : end] for tensor in inputs), length=length, scaling=scaling)
        for end, (count, length) in zip(ends, known.runs, strict=True)
    ]
    output_1LAD = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    return output_1LAD if known.scatter_L is None else output_1LAD.index_select(1, known.scatter_L), None


def segments_of(bounds: Tensor, known: Sequence[Segments]) -> Segments:
    """What the host knows of these bounds; else they are read back from the device."""
    return next((one for one in known if one.bounds is bounds), None) or _read_segments(bounds)


def _read_segments(bounds: Tensor) -> Segments:
    """Windows of one length side by side, by reading the bounds."""
    starts = bounds[:-1].tolist()
    lengths = (bounds[1:] - bounds[:-1]).tolist()
    sizes = sorted(set(lengths))
    runs = tuple((lengths.count(size), size) for size in sizes)
    if len(sizes) == 1:
        return Segments(bounds=bounds, runs=runs)
    gather_L = torch.cat(
        [
            torch.arange(start, start + size)
            for size in sizes
            for start, length in zip(starts, lengths, strict=True)
            if length == size
        ]
    )
    scatter_L = gather_L.argsort()
    return Segments(
        bounds=bounds, runs=runs, gather_L=gather_L.to(bounds.device), scatter_L=scatter_L.to(bounds.device)
    )


def _attend_equal(query: Tensor, key: Tensor, value: Tensor, *, length: int, scaling: float) -> Tensor:
    _, heads, total, size = query.shape
    shape = (heads, total // length, length, size)
    q, k, v = (tensor[0].view(shape).transpose(0, 1) for tensor in (query, key, value))
    attended = nn.functional.scaled_dot_product_attention(q, k, v, scale=scaling)
    return attended.transpose(1, 2).reshape(1, total, heads, size)


AttentionInterface.register(WINDOW_ATTENTION, window_attention)
