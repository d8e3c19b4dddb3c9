"""Whether attention by parts is as exact on a device as the kernel it stands in for, at true width, against float64.

Shape suffixes:
- A = query heads, G = key heads, Q = queries, P = prefix, S = suffixes, T = P + S, D = head size
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.partial_attention import Merged, SuffixPlaces, attend, attend_slots, attend_suffixes, merge

MOST_USUAL, MOST_ROUNDING = 1.5, 2.0  # parts are rounded once more, before they are merged; measured: 1.42, 1.7
_PREFIX, _SUFFIXES, _SLOTS = 1_037, (1, 7, 33, 70, 24, 52), 64
_SHARPNESS = (1.0, 4.0)  # standard deviation of the scores: even attention, and such as peaks
_LSE_ERROR = 2e-4  # nats; what ranks tokens is divided by its exponential. Measured: 7e-5 in half precision
_TINY = 1e-30

ByParts = Callable[[Tensor, Tensor, Tensor], Merged]


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionShape:
    """Of a language model."""

    heads: int
    key_heads: int
    head_dim: int
    scaling: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Exactness:
    """Root mean square errors against float64.

    Attributes:
        error: of the parts.
        usual_error: of the kernel in use.
        rounding: of the exact result when it is rounded to the type.
        lse_error: the largest, in nats.
        refusal: what the device said instead, empty where it computed.
    """

    error: float
    usual_error: float
    rounding: float
    lse_error: float
    refusal: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether nothing speaks against the parts."""
        allowed = max(MOST_USUAL * self.usual_error, MOST_ROUNDING * self.rounding)
        return not self.refusal and self.error <= allowed and self.lse_error <= _LSE_ERROR  # not a number: false


def measure_cascade(device: torch.device, dtype: torch.dtype, shape: AttentionShape) -> Exactness:
    """Suffixes in one row over a prefix, against one kernel with a mask."""
    edges = [0, *itertools.accumulate(_SUFFIXES)]
    bounds = list(itertools.pairwise(edges))
    total = edges[-1]
    seen_ST = torch.ones((total, _PREFIX + total), dtype=torch.bool, device=device)
    seen_ST[:, _PREFIX:] = False
    for start, stop in bounds:
        length = stop - start
        seen_ST[start:stop, _PREFIX + start : _PREFIX + stop] = torch.ones((length, length), device=device).tril() > 0

    def by_parts(query: Tensor, key: Tensor, value: Tensor) -> Merged:
        prefix = attend(query, key[:, :, :_PREFIX], value[:, :, :_PREFIX], scaling=shape.scaling)
        rows = key[:, :, _PREFIX:], value[:, :, _PREFIX:]
        own = attend_suffixes(query, *rows, SuffixPlaces(bounds, device), scaling=shape.scaling)
        return merge(prefix, own, dtype)

    return _measure(device, dtype, shape, seen_ST, by_parts)


def measure_slots(device: torch.device, dtype: torch.dtype, shape: AttentionShape) -> Exactness:
    """One token each of several questions over what they share and slots of their own."""
    count = len(_SUFFIXES)
    seen_QT = torch.ones((count, _PREFIX + count * _SLOTS), dtype=torch.bool, device=device)
    lengths_Q = torch.tensor(_SUFFIXES).clamp(max=_SLOTS).to(device)
    seen_QL = torch.arange(_SLOTS, device=device) < lengths_Q[:, None]
    mask_QL = torch.zeros(seen_QL.shape, dtype=dtype, device=device).masked_fill_(~seen_QL, -torch.inf)
    seen_QT[:, _PREFIX:] = (torch.eye(count, device=device)[:, :, None] * seen_QL).flatten(1) > 0

    def by_parts(query: Tensor, key: Tensor, value: Tensor) -> Merged:
        shared = attend(query, key[:, :, :_PREFIX], value[:, :, :_PREFIX], scaling=shape.scaling)
        slots_GQLD = [states[0, :, _PREFIX:].reshape(-1, count, _SLOTS, shape.head_dim) for states in (key, value)]
        keys, values = (states.transpose(0, 1) for states in slots_GQLD)
        own = attend_slots(query, keys, values, mask_QL, scaling=shape.scaling)
        return merge(shared, own, dtype)

    return _measure(device, dtype, shape, seen_QT, by_parts)


def _measure(
    device: torch.device, dtype: torch.dtype, shape: AttentionShape, seen_QT: Tensor, by_parts: ByParts
) -> Exactness:
    """Of all that is drawn, where the parts do worst."""
    measured = []
    try:
        for sharpness in _SHARPNESS:
            query, key, value = _draw(device, dtype, shape, *seen_QT.shape, sharpness=sharpness)
            whole = by_parts(query, key, value)
            keys, values = (states.repeat_interleave(shape.heads // shape.key_heads, dim=1) for states in (key, value))
            mask = torch.zeros(seen_QT.shape, dtype=dtype, device=device).masked_fill_(~seen_QT, -torch.inf)
            usual = functional.scaled_dot_product_attention(
                query, keys, values, attn_mask=mask[None, None], scale=shape.scaling
            )
            scores = (query.double() @ keys.double().transpose(2, 3) * shape.scaling).masked_fill_(~seen_QT, -torch.inf)
            expected, lse = scores.softmax(dim=-1) @ values.double(), scores.logsumexp(dim=-1)
            outs = whole.out, usual, expected.to(dtype)
            errors = [(out.double() - expected).square().mean().sqrt() for out in outs]
            measured.append(torch.stack([*errors, (whole.lse.double() - lse).abs().max()]).tolist())
    except RuntimeError as refused:  # no such kernel on this device, or none for this width
        return Exactness(
            error=0.0, usual_error=0.0, rounding=0.0, lse_error=0.0, refusal=str(refused).partition("\n")[0]
        )
    found = [Exactness(error=e, usual_error=u, rounding=r, lse_error=lse) for e, u, r, lse in measured]
    return min(found, key=lambda one: (one.is_exact, -one.error / max(one.usual_error, _TINY)))


def _draw(
    device: torch.device, dtype: torch.dtype, shape: AttentionShape, queries: int, keys: int, *, sharpness: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normal queries, keys and values, the same on every device."""
    random = torch.Generator().manual_seed(0)
    sizes = (shape.heads, queries), (shape.key_heads, keys), (shape.key_heads, keys)
    query, key, value = (torch.randn((1, *size, shape.head_dim), generator=random) for size in sizes)
    return tuple(states.to(dtype).to(device) for states in (query * sharpness, key, value))  # type: ignore[return-value]
