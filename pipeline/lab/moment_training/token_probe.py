"""A throw-away probe of visual tokens inside the language model: place in time, how often seen so far, neighbours.

What layers above can read, they need not learn to work out from answers alone.

Shape suffixes: B = clips, N = visual tokens of a clip, S = packed sequence, D = hidden size, R = sides
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.lab.demo_training.examples import Example
from pipeline.lab.moments.kinds import KINDS_OF_OBJECT
from pipeline.lab.moments.plan import MOST_APPEARANCES

_LAYER = 2  # hidden states after so many layers
_PLACES = 32.0  # patches that count as one unit of time


class TokenProbe(nn.Module):
    """Linear maps that training needs and the model does not keep."""

    def __init__(self, *, hidden_size: int) -> None:
        super().__init__()
        self._place = nn.Linear(hidden_size, 1)
        self._run = nn.Linear(hidden_size, MOST_APPEARANCES)
        self._beside = nn.Linear(hidden_size, 2 * (len(KINDS_OF_OBJECT) + 1))

    def loss(self, examples: Sequence[Example], hidden: Sequence[Tensor], *, start: int) -> tuple[Tensor, float]:
        """Sum of the losses, and the share of neighbours that are told right (NaN without any).

        Args:
            examples: clips.
            hidden: ``(B, S, D)`` before the first layer, after it, and so on.
            start: first visual token in the sequence.
        """
        run_BN = torch.from_numpy(np.stack([np.minimum(_known(e.run_N), MOST_APPEARANCES - 1) for e in examples]))
        place_BN = torch.from_numpy(np.stack([_places(example) for example in examples]))
        beside_BNR = torch.from_numpy(np.stack([_known(example.beside_NR) for example in examples]))
        visual_BND = hidden[_LAYER][:, start : start + run_BN.shape[1]]
        loss = nn.functional.mse_loss(self._place(visual_BND).squeeze(-1), place_BN)
        shows_BN = run_BN >= 0
        if not shows_BN.any():
            return loss, float("nan")
        shown_ND = visual_BND[shows_BN]
        loss = loss + nn.functional.cross_entropy(self._run(shown_ND), run_BN[shows_BN])
        wanted_NR = beside_BNR[shows_BN]
        logits_NRK = self._beside(shown_ND).view(len(shown_ND), 2, -1)
        wanted_NR = torch.where(wanted_NR < 0, len(KINDS_OF_OBJECT), wanted_NR)
        loss = loss + nn.functional.cross_entropy(logits_NRK.flatten(0, 1), wanted_NR.flatten())
        is_there = wanted_NR < len(KINDS_OF_OBJECT)
        right = (logits_NRK.argmax(-1) == wanted_NR)[is_there].float().mean().item()
        return loss, right


def _known(labels: np.ndarray | None) -> np.ndarray:
    assert labels is not None, "clips of worlds have all labels"
    return labels


def _places(example: Example) -> np.ndarray:
    order = np.unique(example.temporal_N, return_inverse=True)[1]
    return (order / _PLACES).astype(np.float32)
