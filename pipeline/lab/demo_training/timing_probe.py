"""A throw-away probe of visual tokens inside the language model: where they stand in time, how often their object came.

Shape suffixes: B = clips, N = visual tokens of a clip, S = packed sequence, D = hidden size
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.lab.demo_training.examples import Example
from pipeline.lab.synthetic.timeline import MOST_APPEARANCES

_LAYER = 2  # hidden states after so many layers: what follows can read them
_PLACES = 32.0  # patches that count as one unit of time


class TimingProbe(nn.Module):
    """Two linear maps that training needs and the model does not keep."""

    def __init__(self, *, hidden_size: int) -> None:
        super().__init__()
        self._place = nn.Linear(hidden_size, 1)
        self._run = nn.Linear(hidden_size, MOST_APPEARANCES)

    def loss(self, examples: Sequence[Example], hidden: Sequence[Tensor], *, start: int) -> Tensor:
        """Squared error of the place among the patches kept, cross-entropy of the number of the appearance.

        Args:
            examples: clips of long videos.
            hidden: ``(B, S, D)`` before the first layer, after it, and so on.
            start: first visual token in the sequence.
        """
        run_BN = torch.from_numpy(np.stack([_runs(example) for example in examples]))
        place_BN = torch.from_numpy(np.stack([_places(example) for example in examples]))
        stop = start + run_BN.shape[1]
        place_loss = nn.functional.mse_loss(self._place(hidden[_LAYER][:, start:stop]).squeeze(-1), place_BN)
        shows_BN = run_BN >= 0
        run_logits = self._run(hidden[_LAYER][:, start:stop])[shows_BN]
        run_loss = nn.functional.cross_entropy(run_logits, run_BN[shows_BN]) if shows_BN.any() else 0.0
        total: Tensor = place_loss + run_loss
        return total


def _runs(example: Example) -> np.ndarray:
    assert example.run_N is not None, "only clips of long videos are probed"
    return np.minimum(example.run_N, MOST_APPEARANCES - 1)


def _places(example: Example) -> np.ndarray:
    order = np.unique(example.temporal_N, return_inverse=True)[1]
    return (order / _PLACES).astype(np.float32)
