"""Deepstack features are added where the visual tokens stand, by index: stock code asks the device how many there are.

A boolean mask makes the host wait twice per deepstack layer, until the device has caught up with all that is queued.
The numbers are the same: the same rows are added to the same rows.
"""

from typing import Any

import torch
from torch import Tensor

from pipeline.models.fusion.places import add_at


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
