"""FlashVID (arXiv 2602.08024) before the language model: salient tokens that differ, and trees of what stays the same.

Without its pruning inside the language model, and so without the factor 1.25 that pays for it. Averages are true ones.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.method.diversity import cosines, max_min_order, unit_rows
from pipeline.method.selectors.base import GroupRule
from pipeline.method.selectors.ranking import GroupView, IntArray, Ranked, Ranker, RankInputs
from pipeline.method.selectors.thinned import ThinnedPatches

_CUT_BELOW = 0.9
_LEAST_SEGMENTS = 4
_SELECTED = 0.7
_SAME_ABOVE = 0.8


class SalientAndMerged:
    """Seven tenths of a patch's tokens are selected, three tenths are averages of trees of the rest."""

    inputs = RankInputs(saliency=True)

    def rank(self, view: GroupView) -> Ranked:
        """Selected tokens in rounds, then trees by size."""
        assert view.saliency_N is not None
        num_patches, per_patch = view.num_patches, view.tokens_per_patch
        features_PTD = view.features_ND.view(num_patches, per_patch, -1)
        wanted = max(1, view.depth - 1)
        num_selected = max(1, int(np.ceil(_SELECTED * wanted)))
        saliency_PT = view.saliency_N.view(num_patches, per_patch)
        selected_PK = select(features_PTD, saliency_PT, num_selected).cpu().numpy()
        is_free_N = np.ones(num_patches * per_patch, dtype=bool)
        is_free_N[(selected_PK + np.arange(num_patches)[:, None] * per_patch).reshape(-1)] = False
        parent_N = hang(
            features_PTD,
            is_free_N.reshape(num_patches, per_patch),
            segments(features_PTD),
            least_roots=(wanted - num_selected) * num_patches,
        )
        trees = grow(parent_N, is_free_N)
        score_N = np.full(len(is_free_N), -np.inf, dtype=np.float32)
        for root, members in trees.items():
            score_N[root] = len(members)
        for place in range(selected_PK.shape[1]):
            score_N[selected_PK[:, place] + np.arange(num_patches) * per_patch] = 1e9 - place * 64.0
        features_ND, merged = view.features_ND.clone(), {}
        for root, members in trees.items():
            if len(members) > 1:
                features_ND[root] = view.features_ND[torch.tensor(members)].mean(dim=0)
                merged[root] = members
        return Ranked(score_N, features_ND, merged)


class FlashVid(ThinnedPatches):
    """Question-blind."""

    name = "flashvid"
    group_rule: ClassVar[GroupRule] = GroupRule(grouping="contiguous")
    ranker: Ranker | None = SalientAndMerged()
    label: str = (
        "FlashVID (2602.08024) without pruning inside the LLM; true averages; largest trees in place of DPC-kNN"
    )


def select(features_PTD: Tensor, saliency_PT: Tensor, count: int) -> Tensor:
    """``(P, K)``: the farthest from its nearest chosen one, times saliency; first by its nearest other token."""
    distance_PTT = 1 - cosines(features_PTD)
    others_PTT = distance_PTT + torch.diag(torch.full((distance_PTT.shape[1],), torch.inf)).to(distance_PTT.device)
    alone_PT = others_PTT.amin(dim=2) if distance_PTT.shape[1] > 1 else torch.ones_like(saliency_PT)
    return max_min_order(distance_PTT, (alone_PT * saliency_PT).argmax(dim=1), count=count, weight_PT=saliency_PT)


def segments(features_PTD: Tensor) -> IntArray:
    """``(P,)`` number of each patch's segment: cut where mean tokens differ, and on until there are 4."""
    means_PD = unit_rows(features_PTD.mean(dim=1))
    alike = (means_PD[1:] * means_PD[:-1]).sum(dim=1).cpu().numpy()
    cuts = set(np.flatnonzero(alike < _CUT_BELOW).tolist())
    for place in np.argsort(alike, kind="stable").tolist():
        if len(cuts) + 1 >= _LEAST_SEGMENTS:
            break
        cuts.add(place)
    return np.cumsum([0, *(place in cuts for place in range(len(alike)))]).astype(np.int64)


def hang(features_PTD: Tensor, is_free_PT: npt.NDArray[np.bool_], segment_P: IntArray, *, least_roots: int) -> IntArray:
    """``(N,)`` under which token of the patch before a token hangs, -1 for none.

    A free token hangs under its likest free one where their cosine is above 0.8 and both lie in one segment. The
    threshold is raised while that would leave fewer than ``least_roots`` trees.
    """
    num_patches, per_patch = is_free_PT.shape
    rows_PTD = unit_rows(features_PTD.float())
    best_N, parent_N = np.full(num_patches * per_patch, -np.inf), np.full(num_patches * per_patch, -1, dtype=np.int64)
    for patch in range(1, num_patches):
        if segment_P[patch] != segment_P[patch - 1] or not is_free_PT[patch - 1].any():
            continue
        above = np.flatnonzero(is_free_PT[patch - 1])
        alike = rows_PTD[patch] @ rows_PTD[patch - 1][torch.from_numpy(above)].T
        value_T, index_T = alike.max(dim=1)
        own = slice(patch * per_patch, (patch + 1) * per_patch)
        best_N[own] = np.where(is_free_PT[patch], value_T.cpu().numpy(), -np.inf)
        parent_N[own] = above[index_T.cpu().numpy()] + (patch - 1) * per_patch
    order = np.argsort(-best_N, kind="stable")
    num_hung = min(int((best_N > _SAME_ABOVE).sum()), max(0, int(is_free_PT.sum()) - least_roots))
    parent_N[order[num_hung:]] = -1
    return parent_N


def grow(parent_N: IntArray, is_free_N: npt.NDArray[np.bool_]) -> dict[int, Sequence[int]]:
    """Root -> all tokens of its tree, ascending."""
    root_N, trees = np.arange(len(parent_N)), dict[int, list[int]]()
    for token in np.flatnonzero(is_free_N).tolist():  # a parent stands earlier
        if parent_N[token] >= 0:
            root_N[token] = root_N[parent_N[token]]
        trees.setdefault(int(root_N[token]), []).append(token)
    return dict(trees)
