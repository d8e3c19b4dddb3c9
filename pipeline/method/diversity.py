"""Greedy orders of tokens that differ from each other, for all patches of a group at once.

Both orders have the prefix property: how many are taken changes nothing of which come first. Ties: the lower token.
Shape suffixes: P = patches, T = tokens of a patch, K = tokens put in order, D = feature width
"""

import torch
from torch import Tensor

_FLOOR = 1e-10


def unit_rows(features: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays one."""
    rows: Tensor = features / features.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return rows


def cosines(features_PTD: Tensor) -> Tensor:
    """``(P, T, T)`` cosine of every two tokens of a patch."""
    rows = unit_rows(features_PTD.float())
    return rows @ rows.transpose(1, 2)


def max_min_order(
    distance_PTT: Tensor,
    first_P: Tensor,
    *,
    count: int,
    bonus_PT: Tensor | None = None,
    weight_PT: Tensor | None = None,
) -> Tensor:
    """``(P, K)``: each next token is the one farthest from its nearest chosen one.

    Args:
        distance_PTT: between tokens of a patch.
        first_P: what each patch begins with.
        count: K, at most T.
        bonus_PT: added to that distance.
        weight_PT: multiplied with it.
    """
    rows = torch.arange(len(distance_PTT), device=distance_PTT.device)
    nearest_PT, order, taken_PT = distance_PTT[rows, first_P].clone(), [first_P], torch.zeros_like(distance_PTT[:, 0])
    taken_PT[rows, first_P] = torch.inf
    for _ in range(1, count):
        value_PT = nearest_PT if weight_PT is None else nearest_PT * weight_PT
        value_PT = value_PT if bonus_PT is None else value_PT + bonus_PT
        chosen_P = (value_PT - taken_PT).argmax(dim=1)
        order.append(chosen_P)
        taken_PT[rows, chosen_P] = torch.inf
        nearest_PT = torch.minimum(nearest_PT, distance_PTT[rows, chosen_P])
    return torch.stack(order, dim=1)


def determinant_order(kernel_TT: Tensor, *, count: int, first: int | None = None) -> list[int]:
    """Greedy maximum of the determinant of one patch's kernel, by the Cholesky update (fast MAP of a DPP).

    Args:
        kernel_TT: symmetric, positive semi-definite.
        count: tokens to put in order, at most T.
        first: what to begin with; None: the largest diagonal.
    """
    gain_T, order, rows = kernel_TT.diagonal().clone(), list[int](), list[Tensor]()
    while len(order) < count:
        chosen = int(gain_T.argmax()) if order or first is None else first
        order.append(chosen)
        before = torch.stack(rows) if rows else kernel_TT.new_zeros((0, len(kernel_TT)))
        row = (kernel_TT[chosen] - before[:, chosen] @ before) / gain_T[chosen].clamp_min(_FLOOR).sqrt()
        rows.append(row)
        gain_T = gain_T - row**2
        gain_T[order] = -torch.inf
    return order
