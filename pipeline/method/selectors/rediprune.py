"""ReDiPrune (arXiv 2603.24680): tokens of a frame that differ from each other, those first that resemble the question.

Its code compares features before the projector with averaged word embeddings, two spaces that were never aligned; that
form is ``rediprune-tower``. Here features after the merger meet the question in the language model's own width.
"""

import torch
from torch import Tensor, nn

from pipeline.method.diversity import cosines, max_min_order, unit_rows
from pipeline.method.selectors.ranking import GroupView, Ranked, Ranker, RankInputs, in_rounds
from pipeline.method.selectors.thinned import ThinnedPatches

_ALPHA = 0.5
_LAST_TOKENS = 128
_LATE = 3.0  # the last token counts e^3 times the first


class RelevanceAndDistance:
    """Starts at the most relevant token; then the largest ``min distance + 0.5 relevance``.

    Args:
        in_tower: judge features before the merger.
    """

    def __init__(self, *, in_tower: bool) -> None:
        self.inputs = RankInputs(question=True, tower=in_tower)

    def rank(self, view: GroupView) -> Ranked:
        """Per patch."""
        features = view.tower_NC if self.inputs.tower else view.features_ND
        assert features is not None
        assert view.question_LD is not None
        question = fit_width(question_vector(view.question_LD), features.shape[-1])
        shape = view.num_patches, view.tokens_per_patch
        relevance_PT = (unit_rows(features.float()) @ unit_rows(question)).view(shape)
        distance_PTT = 1 - cosines(features.view(*shape, -1))
        order_PK = max_min_order(
            distance_PTT, relevance_PT.argmax(dim=1), count=view.depth, bonus_PT=_ALPHA * relevance_PT
        )
        return Ranked(in_rounds(order_PK.cpu().numpy(), view.tokens_per_patch))


class ReDiPrune(ThinnedPatches):
    """In the width of the language model."""

    name = "rediprune"
    ranker: Ranker | None = RelevanceAndDistance(in_tower=False)
    label: str = "rule of ReDiPrune (2603.24680), after the merger"


class ReDiPruneTower(ThinnedPatches):
    """As in its code."""

    name = "rediprune-tower"
    ranker: Ranker | None = RelevanceAndDistance(in_tower=True)
    label: str = "rule of ReDiPrune (2603.24680), in the tower's space, as in its code"


def question_vector(embeddings_LD: Tensor) -> Tensor:
    """``(D,)``: each of the last 128 tokens as what it resembles among them, later ones weighing more."""
    words = embeddings_LD[-_LAST_TOKENS:].float()
    context_LD = (unit_rows(words) @ unit_rows(words).T).softmax(dim=-1) @ words
    steps = torch.arange(len(words), device=words.device) / max(1, len(words) - 1)
    return (_LATE * steps).softmax(dim=0) @ context_LD


def fit_width(vector_D: Tensor, width: int) -> Tensor:
    """Means of neighbouring numbers where it is too wide, repeated where it is too narrow."""
    if len(vector_D) < width:
        return vector_D.repeat(-(-width // len(vector_D)))[:width]
    return nn.functional.adaptive_avg_pool1d(vector_D[None], width)[0]
