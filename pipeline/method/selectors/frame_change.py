"""After the idea of CoPE-VideoLM (arXiv 2602.13191): pixels that stay the same say nothing new. Not that model."""

import numpy as np

from pipeline.method.selectors.evs import Evs
from pipeline.method.selectors.ranking import GroupView, Ranked, Ranker, RankInputs


class PixelChange:
    """Mean absolute difference of luma to the sampled frame before, over a token's cell."""

    inputs = RankInputs(change=True)

    def rank(self, view: GroupView) -> Ranked:
        """The video's first patch comes before all others."""
        assert view.change_N is not None
        score_N = view.change_N.float().cpu().numpy().copy()
        if view.patches[0] == 0:
            score_N[: view.tokens_per_patch] = np.inf
        return Ranked(score_N)


class FrameChange(Evs):
    """EVS on decoded pixels in place of features; any codec."""

    name = "frame-change"
    ranker: Ranker | None = PixelChange()
    label: str = "change of pixels as a redundancy signal, after the idea of CoPE-VideoLM (2602.13191)"
