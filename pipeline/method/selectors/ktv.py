"""After KTV (arXiv 2602.03615): keyframes by clustering, more tokens for those that the question looks at.

Own features stand in for DINOv2, attention for CLIP. The paper's best weight of importance is 0.8, its README says 0.2.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from pipeline.method.diversity import cosines
from pipeline.method.selectors.base import FloatArray, IntArray
from pipeline.method.selectors.keyframes import Keyframes, by_group
from pipeline.method.selectors.ranking import Float32Array, GroupView, Ranked, Ranker, RankInputs
from pipeline.settings.config import BudgetConfig

_ALPHA = 0.8
_WIDTH = 64  # of a patch's projected vector
_SHARES = (4, 2, 2, 2, 2, 1)  # tokens of six keyframes, the one looked at most first
_ROUNDS = 20


class ImportanceWithoutRepetition:
    """``0.8 importance + 0.2 (1 - mean cosine to the patch's other tokens)``, each from 0 to 1 within a patch."""

    inputs = RankInputs(saliency=True)

    def rank(self, view: GroupView) -> Ranked:
        """Scores of tokens; beside them the largest attention and a projected mean of each patch."""
        assert view.saliency_N is not None
        assert view.attention_N is not None
        shape = view.num_patches, view.tokens_per_patch
        features_PTD = view.features_ND.view(*shape, -1)
        likeness_PT = (cosines(features_PTD).sum(dim=2) - 1) / max(1, shape[1] - 1)
        score_PT = _ALPHA * spread(view.saliency_N.view(shape)) + (1 - _ALPHA) * (1 - spread(likeness_PT))
        vectors_PV = features_PTD.mean(dim=1).cpu() @ projection(features_PTD.shape[-1])
        attention_P = torch.from_numpy(np.array(view.attention_N)).view(shape).amax(dim=1)
        profile = torch.cat([attention_P[:, None], vectors_PV], dim=1)
        return Ranked(score_PT.reshape(-1).cpu().numpy().astype(np.float32), profile_PX=profile.numpy())


class Ktv(Keyframes):
    """Clusters of projected patches; each centre's nearest patch is a keyframe."""

    name = "ktv"
    ranker: Ranker | None = ImportanceWithoutRepetition()
    label: str = "after KTV (2602.03615), own features in place of DINOv2 and CLIP"

    def choose(self, scores_P: FloatArray, count: int) -> IntArray:
        """Not asked: ``allocate_patches`` needs vectors too."""
        raise NotImplementedError("ktv chooses by vectors")

    def allocate_patches(
        self,
        scores_G: Sequence[Float32Array],
        group_indices: Sequence[int],
        config: BudgetConfig,
        *,
        tokens_per_patch: int,
    ) -> list[IntArray]:
        """About half the tokens of each of ``2 B / n`` keyframes."""
        rows_G = [scores.reshape(-1, 1 + _WIDTH) for scores in scores_G]
        rows_PX = np.zeros((sum(map(len, rows_G)), 1 + _WIDTH))
        for rows, group in zip(rows_G, group_indices, strict=True):
            rows_PX[group :: len(rows_G)] = rows
        count = min(len(rows_PX), max(1, round(2 * config.token_budget / tokens_per_patch)))
        chosen = nearest_to_centres(rows_PX[:, 1:], count)
        by_attention = chosen[np.argsort(-rows_PX[chosen, 0], kind="stable")]
        tokens_P = np.zeros(len(rows_PX), dtype=np.int64)
        tokens_P[by_attention] = tokens_by_place(len(chosen), config.token_budget, most=tokens_per_patch)
        return by_group(tokens_P, group_indices)


@cache
def projection(width: int) -> Tensor:
    """``(D, 64)`` fixed random numbers."""
    generator = torch.Generator().manual_seed(0)
    numbers: Tensor = torch.randn(width, _WIDTH, generator=generator)
    return numbers.div(_WIDTH**0.5)


def spread(values_PT: Tensor) -> Tensor:
    """From 0 to 1 within each patch; zero where all are alike."""
    low, high = values_PT.amin(dim=1, keepdim=True), values_PT.amax(dim=1, keepdim=True)
    scaled: Tensor = (values_PT - low) / (high - low).clamp_min(1e-12)
    return scaled


def nearest_to_centres(vectors_PV: FloatArray, count: int) -> IntArray:
    """Patches nearest to the centres of k-means, each another one; as many evenly spaced where two centres share one.

    Centres begin with the farthest patch from those before, from the one nearest to the mean on: nothing is drawn.
    """
    squares_P = ((vectors_PV - vectors_PV.mean(axis=0)) ** 2).sum(axis=1)
    starts, nearest_P = [int(squares_P.argmin())], np.full(len(vectors_PV), np.inf)
    for _ in range(1, count):
        nearest_P = np.minimum(nearest_P, ((vectors_PV - vectors_PV[starts[-1]]) ** 2).sum(axis=1))
        starts.append(int(nearest_P.argmax()))
    centres_KV = vectors_PV[starts]
    for _ in range(_ROUNDS):
        cluster_P = _squared_distances(vectors_PV, centres_KV).argmin(axis=1)
        moved_KV = centres_KV.copy()
        for cluster in range(count):
            if (cluster_P == cluster).any():
                moved_KV[cluster] = vectors_PV[cluster_P == cluster].mean(axis=0)
        if np.allclose(moved_KV, centres_KV):
            break
        centres_KV = moved_KV
    chosen = np.unique(_squared_distances(vectors_PV, centres_KV).argmin(axis=0))
    if len(chosen) == count:
        return chosen.astype(np.int64)
    return ((2 * np.arange(count, dtype=np.int64) + 1) * len(vectors_PV)) // (2 * count)


def tokens_by_place(count: int, budget: int, *, most: int) -> IntArray:
    """Tokens of keyframes, the most looked at first: as 4 : 2 : 2 : 2 : 2 : 1, at most ``most`` each."""
    places = np.arange(count) * len(_SHARES) // count
    weights = np.array(_SHARES, dtype=np.float64)[places]
    tokens: IntArray = np.minimum(most, np.floor(budget * weights / weights.sum())).astype(np.int64)
    for place in range(count):  # what rounding or a full patch left, to the first that have room
        tokens[place] += min(most - tokens[place], budget - int(tokens.sum()))
    return tokens


def _squared_distances(vectors_PV: FloatArray, centres_KV: FloatArray) -> FloatArray:
    """``(P, K)``."""
    cross = vectors_PV @ centres_KV.T
    squares: FloatArray = (vectors_PV**2).sum(axis=1)[:, None] - 2 * cross + (centres_KV**2).sum(axis=1)
    return squares
