"""How a selector ranks a group's tokens itself, where attention alone is not its rule.

Shape suffixes: N = tokens of a group, P = its temporal patches, D = width after the merger, C = width of the vision
tower, L = tokens of a question
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

IntArray = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]


class RankInputs(NamedTuple):
    """What a ranker wants to see besides merged features; attention is there where groups are scored.

    Attributes:
        saliency: attention that tokens receive in the last block of the vision tower.
        tower: features before the merger.
        question: embeddings of the question; tokens are then ranked for each question, else once for all.
        change: difference of each token's picture to the sampled frame before.
    """

    saliency: bool = False
    tower: bool = False
    question: bool = False
    change: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroupView:
    """One group as a ranker sees it; tensors in float32 on the model's device, tokens in temporal, row, column order.

    Attributes:
        features_ND: after the merger.
        patches: ``(P,)`` temporal patches of the video; ``time_s_P`` their presentation time.
        depth: tokens of a patch that can be sold at most where all patches sell alike.
        attention_N: of the question, where groups are scored.
        saliency_N: see ``RankInputs``, as ``tower_NC``, ``question_LD`` and ``change_N``, each only where wanted.
    """

    features_ND: Tensor
    patches: IntArray
    time_s_P: npt.NDArray[np.float64]
    depth: int
    attention_N: Float32Array | None = None
    saliency_N: Tensor | None = None
    tower_NC: Tensor | None = None
    question_LD: Tensor | None = None
    change_N: Tensor | None = None

    @property
    def num_patches(self) -> int:
        """P."""
        return len(self.patches)

    @property
    def tokens_per_patch(self) -> int:
        """N / P."""
        return len(self.features_ND) // len(self.patches)


class Ranked(NamedTuple):
    """What a ranker says of a group.

    Attributes:
        score_N: higher is sold first, ties to the lower token; minus infinity is never sold.
        features_ND: in place of the merged features, where tokens are averages.
        members: token -> all tokens whose average it is, itself included; those that stand for themselves are left out.
        profile_PX: what the selector compares of each patch across groups; None: the largest score of its tokens.
    """

    score_N: Float32Array
    features_ND: Tensor | None = None
    members: Mapping[int, Sequence[int]] = MappingProxyType({})
    profile_PX: Float32Array | None = None


class Ranker(Protocol):
    """A rule of rank."""

    @property
    def inputs(self) -> RankInputs:
        """What it wants to see."""
        ...

    def rank(self, view: GroupView) -> Ranked:
        """All tokens of one group, for one question where it wants questions or attention."""
        ...


def in_rounds(order_PK: IntArray, tokens_per_patch: int) -> Float32Array:
    """Scores by which every patch sells its first choice before any sells its second.

    ``[[2, 0], [1, 2]], 3 per patch  ->  [-1 -inf 0  -inf 0 -1]``

    Args:
        order_PK: per patch, its tokens in the order in which they are sold; K may be fewer than it has.
        tokens_per_patch: that it has.
    """
    score_PT = np.full((len(order_PK), tokens_per_patch), -np.inf, dtype=np.float32)
    places = np.broadcast_to(-np.arange(order_PK.shape[1], dtype=np.float32), order_PK.shape)
    np.put_along_axis(score_PT, order_PK, places, axis=1)
    return score_PT.reshape(-1)
