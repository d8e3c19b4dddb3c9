"""Some rows of a stream, by their places or by a mask, without asking the device how many there are.

Shape suffixes: T = rows, N = places, D = width
"""

import torch
from torch import Tensor


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
