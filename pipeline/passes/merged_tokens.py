"""The pieces that one question bought from many groups, put together in temporal, row, column order.

Shape suffixes: K = all bought tokens, D = feature width
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.devices.transfer import staging, upload
from pipeline.passes.candidates import CandidatePiece

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MergedTokens:
    """All bought tokens in order; ``position_K`` is the group's, ``members`` as in ``CandidatePiece``."""

    patch_K: IntArray
    token_K: IntArray
    position_K: IntArray
    score_K: npt.NDArray[np.float32]
    features_KD: Tensor
    members: Mapping[int, IntArray] = field(default_factory=dict)

    @classmethod
    def of_pieces(cls, pieces: Sequence[CandidatePiece], device: torch.device) -> "MergedTokens":
        """Features on ``device``, in the model's type; the host waits for nothing."""
        patch_K = np.concatenate([piece.patch_K for piece in pieces])
        token_K = np.concatenate([piece.token_K for piece in pieces])
        order_K = np.lexsort((token_K, patch_K))
        merge = _merge_on_host if device.type == "cpu" else _merge_on_device
        bits_KD = merge(pieces, order_K, device)
        return cls(
            patch_K=patch_K[order_K],
            token_K=token_K[order_K],
            position_K=np.concatenate([np.full(len(piece.patch_K), piece.position) for piece in pieces])[order_K],
            score_K=np.concatenate([piece.score_K for piece in pieces])[order_K],
            features_KD=bits_KD.view(torch.bfloat16) if pieces[0].is_bfloat16 else bits_KD,
            members=_members_in_order(pieces, order_K),
        )


def _members_in_order(pieces: Sequence[CandidatePiece], order_K: IntArray) -> dict[int, IntArray]:
    place_K = np.argsort(order_K)
    starts = np.cumsum([0, *(len(piece.patch_K) for piece in pieces)])
    return {
        int(place_K[start + row]): places
        for start, piece in zip(starts, pieces, strict=False)
        for row, places in piece.members.items()
    }


def _merge_on_host(pieces: Sequence[CandidatePiece], order_K: IntArray, device: torch.device) -> Tensor:
    """Each row goes to its place at once."""
    place_K = np.empty_like(order_K)
    place_K[order_K] = np.arange(len(order_K))
    bits_KD = torch.empty((len(order_K), pieces[0].bits_KD.shape[1]), dtype=_type_of(pieces[0]))
    rows_KD, start = bits_KD.numpy(), 0
    for piece in pieces:
        rows_KD[place_K[start : start + len(piece.bits_KD)]] = piece.bits_KD
        start += len(piece.bits_KD)
    return bits_KD


def _merge_on_device(pieces: Sequence[CandidatePiece], order_K: IntArray, device: torch.device) -> Tensor:
    """Pieces go up as they are, each while the host packs the next; the device puts the rows in order.

    A piece's pinned memory is small and comes back to torch's own store, so that no page of it is new for long.
    """
    dtype = _type_of(pieces[0])
    bits_KD = torch.empty((len(order_K), pieces[0].bits_KD.shape[1]), dtype=dtype, device=device)
    start = 0
    for piece in pieces:
        packed = staging(piece.bits_KD.shape, dtype, device)
        packed.numpy()[...] = piece.bits_KD
        bits_KD[start : start + len(packed)].copy_(packed, non_blocking=True)
        start += len(packed)
    return bits_KD.index_select(0, upload(order_K, device))


def _type_of(piece: CandidatePiece) -> torch.dtype:
    return torch.from_numpy(np.empty(0, piece.bits_KD.dtype)).dtype
