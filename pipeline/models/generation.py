"""Greedy responses of questions that stand in one row over a shared prefix, with the entropy of every response token.

Shape suffixes:
- B = questions that generate, T = keys in the cache, V = vocabulary
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.method.entropy import token_entropies
from pipeline.models.devices.transfer import Download, upload
from pipeline.models.text_model import TextModel

_MASK_ALIGNMENT = 8  # elements; attention kernels take masks whose rows start at multiples of it


@dataclass(kw_only=True, slots=True, eq=False)
class GreedyRow:
    """One response so far: token ids, and their entropies in nats (the end token counts)."""

    max_tokens: int
    token_ids: list[int] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)

    def add(self, token: int, entropy: float, end_ids: frozenset[int]) -> None:
        """Take in one more token, unless the response has ended."""
        if self.is_open(end_ids):
            self.token_ids.append(token)
            self.entropies.append(entropy)

    def is_open(self, end_ids: frozenset[int]) -> bool:
        """Whether more tokens follow."""
        return len(self.token_ids) < self.max_tokens and not (self.token_ids and self.token_ids[-1] in end_ids)


def choose_tokens(logits_BV: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest token of each row and its distribution's entropy, both ``(B,)``, on the device."""
    return logits_BV.argmax(dim=-1), token_entropies(logits_BV)


def extend_greedily(
    text: TextModel,
    rows: Sequence[GreedyRow],
    *,
    cache: Any,
    visible_BT: npt.NDArray[np.bool_],
    next_positions: Sequence[int],
) -> None:
    """Continue rows that hold their first token until all have ended.

    Every row takes part in every step, ended or not, so that shapes do not depend on what the others say; the host
    reads one token per row and step, because a response may end with any.

    Args:
        text: the language model.
        rows: extended in place.
        cache: keys and values of prefix and suffixes, extended in place.
        visible_BT: which cached keys belong to each row.
        next_positions: rotary position of each row's first response token.
    """
    positions_B = np.asarray(next_positions)
    step_ids = [row.token_ids[-1] for row in rows]
    while any(row.is_open(text.end_ids) for row in rows):
        visible_BT = np.concatenate([visible_BT, np.eye(len(rows), dtype=bool)], axis=1)
        ids_B = upload(step_ids, text.device)
        hidden_BD = text.run(
            text.embed(ids_B),
            upload(positions_B, text.device),
            cache=cache,
            mask_11TK=None if visible_BT.all() else additive_mask(visible_BT, text),
        )
        chosen_B, entropies_B = Download(*choose_tokens(text.logits(hidden_BD))).read()
        step_ids = chosen_B.tolist()
        for row, token, entropy in zip(rows, step_ids, entropies_B.tolist(), strict=True):
            row.add(token, entropy, text.end_ids)
        positions_B = positions_B + 1


def additive_mask(visible_QT: npt.NDArray[np.bool_], text: TextModel) -> Tensor:
    """``(1, 1, Q, T)`` in the weights' type: 0 where a query sees a key, else minus infinity."""
    num_queries, num_keys = visible_QT.shape
    width = -(-num_keys // _MASK_ALIGNMENT) * _MASK_ALIGNMENT
    is_hidden = upload(np.pad(~visible_QT, ((0, 0), (0, width - num_keys))), text.device)
    mask = torch.zeros((1, 1, num_queries, width), dtype=text.dtype, device=text.device)
    return mask.masked_fill_(is_hidden, float("-inf"))[..., :num_keys]
