"""How the patches of a batch lie in memory for the vision tower's attention, known on the host before it runs.

Qwen2.5-VL attends inside windows in most layers and inside whole temporal patches in a few. Windows are laid out by
their place in the frame first and by frame second: all windows of one size then lie in one piece, and a layer needs one
attention call per size without moving a token. Layers that attend to whole temporal patches gather them instead.

Shape suffixes:
- L = patches of a batch, W = windows, U = merged units (a token's patches), R = places of a frame
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.devices.transfer import upload

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Segments:
    """Pieces that attend within themselves.

    Attributes:
        bounds: ``(pieces + 1,)`` int32 cumulative lengths; its identity tells a layer which segments are meant.
        runs: pieces in a row of one length: count and length.
        gather_L: where each patch of the pieces lies in the batch, and ``scatter_L`` the way back; None: in order.
    """

    bounds: Tensor
    runs: tuple[tuple[int, int], ...]
    gather_L: Tensor | None = None
    scatter_L: Tensor | None = None


def plan_windows(
    num_patches: int, *, token_rows: int, token_columns: int, window_tokens: int, unit: int, device: torch.device
) -> tuple[Tensor, Segments, Segments]:
    """The order of a batch and its two kinds of segments.

    Args:
        num_patches: temporal patches of the batch.
        token_rows: of a temporal patch, in visual tokens.
        token_columns: likewise.
        window_tokens: window side in tokens.
        unit: patches per token.
        device: of the vision tower.

    Returns:
        ``(U,)`` order of the tokens, then windows, then whole temporal patches.
    """
    places = _windows_of_frame(token_rows, token_columns, window_tokens)
    places.sort(key=len, reverse=True)  # stable: equal sizes stay in reading order
    tokens_per_patch = token_rows * token_columns
    first_U = np.arange(num_patches)[:, None] * tokens_per_patch
    order_U = np.concatenate([(first_U + place).reshape(-1) for place in places])
    sizes = sorted({len(place) for place in places}, reverse=True)
    runs = tuple((sum(len(p) == size for p in places) * num_patches, size * unit) for size in sizes)
    by_frame_U = np.argsort(order_U // tokens_per_patch, kind="stable")
    gather_L = (by_frame_U[:, None] * unit + np.arange(unit)).reshape(-1)
    windows = Segments(bounds=_bounds(runs, device), runs=runs)
    frame_runs = ((num_patches, tokens_per_patch * unit),)
    frames = Segments(
        bounds=_bounds(frame_runs, device),
        runs=frame_runs,
        gather_L=upload(gather_L, device),
        scatter_L=upload(np.argsort(gather_L), device),
    )
    return upload(order_U, device), windows, frames


def plan_frames(num_patches: int, *, length: int, device: torch.device) -> Segments:
    """Whole temporal patches of ``length`` patches, in order."""
    runs = ((num_patches, length),)
    return Segments(bounds=_bounds(runs, device), runs=runs)


def _windows_of_frame(rows: int, columns: int, side: int) -> list[IntArray]:
    """Token numbers of each window of one frame; windows at the right and lower edge are smaller."""
    numbers = np.arange(rows * columns).reshape(rows, columns)
    return [
        numbers[top : top + side, left : left + side].reshape(-1)
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]


def _bounds(runs: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    lengths = np.concatenate([np.full(count, length) for count, length in runs])
    return upload(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), device)
