"""Tokens of one group in the order in which they are sold: by attention, or by the selector's own rule.

Shape suffixes: N = tokens of a group, D = width after the merger
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pipeline.method.selectors.base import Selector
from pipeline.method.selectors.ranking import GroupView, Ranked
from pipeline.models.interface import Encoded
from pipeline.passes.records import GroupInput
from pipeline.settings.config import RunConfig

Scores = dict[int, npt.NDArray[np.float32]]
RankOnce = Callable[[tuple[object, ...], Callable[[], Ranked]], Ranked]
"""What was ranked under a key before, or what the call gives now."""


def rank_anew(key: tuple[object, ...], rank: Callable[[], Ranked]) -> Ranked:
    """Where one method looks at a group, it does so once anyway."""
    return rank()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RankedGroup:
    """By question: the score of every token, and how many of them are offered.

    Attributes:
        features_ND: after the merger, or averages in their place.
        members: token -> those it is the average of.
        profiles: what is compared of each patch, where that is not its largest score.
    """

    scores: Scores
    offered: dict[int, int]
    features_ND: Tensor
    members: Mapping[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    profiles: Mapping[int, npt.NDArray[np.float32]] = field(default_factory=dict)


def by_attention(
    attention: Scores, features_ND: Tensor, group: GroupInput, *, separators: int = 0, quota: int = 0
) -> RankedGroup:
    """The default.

    Args:
        attention: by question, ``(N,)``; with separators around each patch's tokens where there are any.
        features_ND: of the group.
        group: of whose questions it is.
        separators: ranked text tokens per patch, half before and half after its own. They are not for sale (a final
            pass has its own), but a group offers only those tokens that are among the best ``quota`` of all.
        quota: see there.
    """
    if not separators:
        offered = dict.fromkeys(attention, len(features_ND))
        return RankedGroup(scores=attention, offered=offered, features_ND=features_ND)
    scores, offered = Scores(), dict[int, int]()
    for index, all_N in attention.items():
        shape = len(group.patches), group.geometry.tokens_per_patch + separators
        is_token = np.zeros(shape, dtype=bool)
        is_token[:, separators // 2 : shape[1] - separators // 2] = True
        best = np.argsort(-all_N, kind="stable")[:quota]
        offered[index] = int(is_token.reshape(-1)[best].sum())
        scores[index] = all_N[is_token.reshape(-1)]
    return RankedGroup(scores=scores, offered=offered, features_ND=features_ND)


def by_rule(
    selector: Selector,
    encoded: Encoded,
    group: GroupInput,
    *,
    attention: Scores,
    questions: Mapping[int, Tensor],
    config: RunConfig,
    similarity_dim: int,
    once: RankOnce = rank_anew,
) -> RankedGroup:
    """By the selector's ranker: once for all questions, unless it looks at them."""
    ranker, depth = selector.ranker, _depth(group, config.budget.token_budget)
    assert ranker is not None, "the selector ranks by attention"

    def rank(index: int | None) -> Ranked:
        key = "rank", id(ranker), index, depth, group.patches.tobytes(), config.scoring, selector.needs_scores
        return once(key, lambda: rank_now(index))

    def rank_now(index: int | None) -> Ranked:
        return ranker.rank(
            GroupView(
                features_ND=encoded.features_ND[:, :similarity_dim].float(),
                patches=group.patches,
                time_s_P=np.zeros(len(group.patches)) if group.patch_centers_s is None else group.patch_centers_s,
                depth=depth,
                attention_N=None if index is None else attention.get(index),
                saliency_N=encoded.saliency_N,
                tower_NC=encoded.tower_NC,
                question_LD=None if index is None else questions.get(index),
                change_N=encoded.change_N,
            )
        )

    asked = group.asked
    if selector.needs_scores or ranker.inputs.question:
        ranked = {index: rank(index) for index in asked}
    else:
        ranked = dict.fromkeys(asked, rank(None)) if asked else {}
    some = next(iter(ranked.values()), None)
    features_ND = encoded.features_ND
    if some is not None and some.features_ND is not None:
        features_ND = features_ND.clone()
        features_ND[:, :similarity_dim] = some.features_ND.to(features_ND.dtype)
    return RankedGroup(
        scores={index: one.score_N for index, one in ranked.items()},
        offered={index: int((one.score_N > -np.inf).sum()) for index, one in ranked.items()},
        features_ND=features_ND,
        members={} if some is None else {t: np.asarray(m, dtype=np.int64) for t, m in some.members.items()},
        profiles={index: one.profile_PX for index, one in ranked.items() if one.profile_PX is not None},
    )


def profile_of(selector: Selector, ranked: RankedGroup, index: int, group: GroupInput, config: RunConfig) -> bytes:
    """What the selector compares across groups; see ``GroupScore.profile``."""
    if selector.profile == "nothing":
        return b""
    score_N = ranked.scores[index]
    if index in ranked.profiles:
        compared = ranked.profiles[index]
    elif selector.profile == "patches":
        compared = score_N.reshape(len(group.patches), -1).max(axis=1)
    else:
        compared = -np.sort(-score_N[score_N > -np.inf])[: config.budget.token_budget]
    return np.ascontiguousarray(compared, dtype=np.float32).data.tobytes()


def _depth(group: GroupInput, token_budget: int) -> int:
    """One more than an equal share, for what rounding adds."""
    num_patches = max(group.num_patches, len(group.patches))
    return min(group.geometry.tokens_per_patch, -(-token_budget // num_patches) + 1)
