"""DUET-VLM (arXiv 2602.18846), its second stage before the language model: salience, then attention.

Likeness is of features before the merger, where its code compares vision keys; the second stage keeps half by the
attention of the group's pass in place of drops inside the language model, which its Qwen port gets wrong.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pipeline.method.diversity import cosines
from pipeline.method.selectors.ranking import GroupView, Ranked, Ranker, RankInputs
from pipeline.method.selectors.thinned import ThinnedPatches

_DOMINANT = 0.83
_LEAST_FOR_CONTEXT = 6
_CLUSTER = 4


class SalientThenLookedAt:
    """Stage 1 leaves twice what a patch sells; of that, attention ranks."""

    inputs = RankInputs(saliency=True, tower=True)

    def rank(self, view: GroupView) -> Ranked:
        """Per patch; nothing but what stage 1 leaves is for sale."""
        assert view.saliency_N is not None
        assert view.tower_NC is not None
        assert view.attention_N is not None
        per_patch = view.tokens_per_patch
        saliency_PT = view.saliency_N.view(-1, per_patch)
        alike_PTT = cosines(view.tower_NC.view(view.num_patches, per_patch, -1))
        left = min(per_patch, 2 * max(1, view.depth - 1))
        score_N = np.full(len(view.attention_N), -np.inf, dtype=np.float32)
        features_ND, members = view.features_ND.clone(), dict[int, list[int]]()
        for patch in range(view.num_patches):
            first = patch * per_patch
            dominant, followers = stage_one(saliency_PT[patch], alike_PTT[patch], left)
            kept = [first + token for token in (*dominant, *followers)]
            score_N[kept] = view.attention_N[kept]
            for anchor, gathered in followers.items():
                if gathered:
                    rows = torch.tensor([first + token for token in gathered])
                    features_ND[first + anchor] = view.features_ND[first + anchor] + view.features_ND[rows].mean(dim=0)
                    members[first + anchor] = [first + anchor, *rows.tolist()]
        return Ranked(score_N, features_ND, members)


class Duet(ThinnedPatches):
    """Its anchors are sums, as published: anchor plus the mean of what it gathers."""

    name = "duet"
    needs_scores = True
    settings: ClassVar[Mapping[str, object]] = {"budget.keep_ratio": 0.1, "scoring.attention_reduce": "mean"}
    ranker: Ranker | None = SalientThenLookedAt()
    label: str = "DUET-VLM (2602.18846), second stage before the LLM"


def stage_one(saliency_T: Tensor, alike_TT: Tensor, count: int) -> tuple[list[int], dict[int, list[int]]]:
    """Dominant tokens, and anchors with what they gather; together ``count``.

    Of the rest the most salient four times as many as there are anchors are looked at: every fourth is an anchor, the
    others join the likest. What is not looked at is lost.
    """
    num_anchors = count - round(_DOMINANT * count) if count >= _LEAST_FOR_CONTEXT else 0
    order: list[int] = torch.argsort(saliency_T, descending=True, stable=True).tolist()
    dominant, rest = order[: count - num_anchors], order[count - num_anchors :]
    looked_at = rest[: _CLUSTER * num_anchors]
    anchors = looked_at[::_CLUSTER]
    followers: dict[int, list[int]] = {anchor: [] for anchor in anchors}
    for token in looked_at:
        if token not in followers:
            followers[anchors[int(alike_TT[token, anchors].argmax())]].append(token)
    return dominant, followers
