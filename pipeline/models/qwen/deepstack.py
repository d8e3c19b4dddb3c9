"""Deepstack features are added where the visual tokens stand, by index: stock code asks the device how many there are.

A boolean mask makes the host wait twice per deepstack layer, until the device has caught up with all that is queued.
The numbers are the same: the same rows are added to the same rows.
"""

from typing import Any

import torch
from torch import Tensor


def place_by_index(language: Any) -> None:
    """Let a stock language model take places ``(1, N)`` for ``visual_pos_masks``; a mask means what it always did.

    One whose additions are fused takes them already.
    """
    if "_deepstack_process" in vars(language):
        return
    place_by_mask = type(language)._deepstack_process

    def place(hidden_1TD: Tensor, places: Tensor, features_ND: Tensor) -> Tensor:
        if places.dtype is torch.bool:
            placed_1TD: Tensor = place_by_mask(language, hidden_1TD, places, features_ND)
            return placed_1TD
        return add_at(hidden_1TD, places, features_ND)

    language._deepstack_process = place


def add_at(hidden_1TD: Tensor, places_1N: Tensor, features_ND: Tensor) -> Tensor:
    """The features added to these rows, in a tensor of its own."""
    places_N = places_1N[0].to(hidden_1TD.device)
    hidden_1TD = hidden_1TD.clone()
    hidden_1TD[0, places_N] += features_ND.to(hidden_1TD.device, hidden_1TD.dtype)
    return hidden_1TD


def as_mask(places_1N: Tensor, num_rows: int, device: torch.device) -> Tensor:
    """``(T,)`` which rows these are; a mask stays one. Nothing is asked of the device."""
    if places_1N.dtype is torch.bool:
        return places_1N.to(device).flatten()
    return torch.zeros(num_rows, dtype=torch.bool, device=device).index_fill_(0, places_1N[0].to(device), True)
