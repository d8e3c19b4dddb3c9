"""EVS (arXiv 2510.14624), as vLLM and SGLang ship it: what differs from the same place one patch earlier is kept."""

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from pipeline.method.diversity import unit_rows
from pipeline.method.selectors.base import GroupRule
from pipeline.method.selectors.plain import PlainSelector
from pipeline.method.selectors.ranking import GroupView, Ranked, Ranker, RankInputs


class FeatureChange:
    """``1 - cos`` of a token to the one at its place in the patch before."""

    inputs = RankInputs()

    def rank(self, view: GroupView) -> Ranked:
        """See ``after_the_first``."""
        rows_PTD = unit_rows(view.features_ND).view(view.num_patches, view.tokens_per_patch, -1)
        change_PT = 1 - (rows_PTD[1:] * rows_PTD[:-1]).sum(dim=-1)
        return after_the_first(change_PT, view)


class Evs(PlainSelector):
    """The largest changes of the whole video; its first patch before them."""

    name = "evs"
    group_rule: ClassVar[GroupRule] = GroupRule(grouping="contiguous")
    profile: Literal["nothing", "tokens", "patches"] = "tokens"
    ranker: Ranker | None = FeatureChange()
    label: str = "EVS (2510.14624) over merged features; a group's first patch is judged by its second"


def after_the_first(change_PT: Tensor, view: GroupView) -> Ranked:
    """Changes of every patch but a group's first, which has none before it: judged by the change that follows.

    Args:
        change_PT: ``(P - 1, T)``.
        view: of the group. The video's first patch comes before all others.
    """
    if len(change_PT):
        change_PT = torch.cat([change_PT[:1], change_PT])
    else:
        change_PT = view.features_ND.new_zeros((1, view.tokens_per_patch))
    score_N = change_PT.reshape(-1).float().cpu().numpy().copy()
    if view.patches[0] == 0:
        score_N[: view.tokens_per_patch] = np.inf
    return Ranked(score_N)
