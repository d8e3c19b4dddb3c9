"""PromPrune, "Balancing Saliency and Coverage" (arXiv 2603.14892): a patch of many things is covered, not picked.

The published centre and width of the switch (0.42, 0.02) belong to CLIP with 576 tokens; here they are the median and a
tenth of the interquartile range of the group's own patches, which is a guess of ours.
"""

import math

import numpy as np
import torch
from torch import Tensor

from pipeline.method.diversity import cosines, determinant_order, unit_rows
from pipeline.method.selectors.ranking import GroupView, IntArray, Ranked, Ranker, RankInputs, in_rounds
from pipeline.method.selectors.thinned import ThinnedPatches

_FLOOR = 1e-12
_STEEPEST = 20.0


class SaliencyAndCoverage:
    """The most salient tokens of a patch, then those that cover the rest; how many of each, its entropy says."""

    inputs = RankInputs(saliency=True)

    def rank(self, view: GroupView) -> Ranked:
        """Per patch; the split depends on how many tokens it will sell."""
        assert view.saliency_N is not None
        shape = view.num_patches, view.tokens_per_patch
        features_PTD, saliency_PT = view.features_ND.view(*shape, -1), view.saliency_N.view(shape)
        entropy_P = spectral_entropy(features_PTD)
        wanted = max(1, view.depth - 1)
        kernel_PTT = cosines(features_PTD).double()
        order = [
            split_order(kernel_PTT[patch], saliency_PT[patch], num_salient=round(share * wanted), count=view.depth)
            for patch, share in enumerate(saliency_share(entropy_P).tolist())
        ]
        return Ranked(in_rounds(np.array(order), view.tokens_per_patch))


class PromPrune(ThinnedPatches):
    """Question-blind."""

    name = "promprune"
    ranker: Ranker | None = SaliencyAndCoverage()
    label: str = "PromPrune (2603.14892) per temporal patch; saliency = received attention; μ, τ recalibrated"


def spectral_entropy(features_PTD: Tensor) -> Tensor:
    """``(P,)`` from 0 (all alike) to 1: entropy of the spectrum of unit rows about their mean."""
    rows = unit_rows(features_PTD.double())
    rows = rows - rows.mean(dim=1, keepdim=True)
    few = min(rows.shape[1:])
    gram = rows @ rows.transpose(1, 2) if rows.shape[1] == few else rows.transpose(1, 2) @ rows
    values = torch.linalg.eigvalsh(gram).clamp_min(_FLOOR)
    shares = values / values.sum(dim=1, keepdim=True)
    entropy_P: Tensor = -(shares * shares.log()).sum(dim=1) / math.log(max(2, few))
    return entropy_P


def saliency_share(entropy_P: Tensor) -> Tensor:
    """``(P,)`` of what a patch sells: 1 where its entropy is far below the group's median, 0 far above."""
    low, middle, high = torch.quantile(entropy_P, torch.tensor([0.25, 0.5, 0.75]).to(entropy_P))
    steep = (entropy_P - middle) / (0.1 * (high - low)).clamp_min(_FLOOR)
    share_P: Tensor = 1 - steep.clamp(-_STEEPEST, _STEEPEST).sigmoid()
    return share_P


def split_order(kernel_TT: Tensor, saliency_T: Tensor, *, num_salient: int, count: int) -> IntArray:
    """Tokens in the order in which a patch sells them.

    The first that covers is the one least like any salient one; the others are the greedy maximum of the determinant.
    """
    salient = torch.argsort(saliency_T, descending=True, stable=True)[: min(num_salient, count)]
    others = np.setdiff1d(np.arange(len(kernel_TT)), salient.cpu().numpy())
    kernel_OT = kernel_TT[torch.from_numpy(others)]
    num_others = count - len(salient)
    if not num_others:
        return np.asarray(salient.cpu().numpy(), dtype=np.int64)
    first = int(kernel_OT[:, salient].amax(dim=1).argmin()) if len(salient) else None
    covering = determinant_order(kernel_OT[:, torch.from_numpy(others)], count=num_others, first=first)
    return np.concatenate([salient.cpu().numpy(), others[covering]]).astype(np.int64)
