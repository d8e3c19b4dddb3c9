"""From the outputs of a forward pass to ``Response`` records, the same for every family."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.config import ScoringConfig
from pipeline.models.attention_probe import AttentionProbe
from pipeline.models.generation import GreedyResponse
from pipeline.models.interface import QuestionPrompt, Response


def build_probe(is_real_BS: Tensor, visual: slice | Tensor, config: ScoringConfig) -> AttentionProbe:
    """A probe of the suffix's attention to the visual tokens.

    Args:
        is_real_BS: ``(questions, suffix length)``, False where a left-padded suffix has no token.
        visual: key positions of the visual tokens.
        config: layer, queries and reduction.
    """
    is_query = is_real_BS
    if config.query_tokens == "last-token":
        is_query = torch.zeros_like(is_real_BS)
        is_query[:, -1] = True
    return AttentionProbe(
        layer=config.reference_layer,
        num_queries=is_real_BS.shape[1],
        is_query_BQ=is_query,
        visual=visual,
        reduce=config.attention_reduce,
    )


def to_responses(
    tokenizer: Any, responses: Sequence[GreedyResponse], prompts: Sequence[QuestionPrompt], probe: AttentionProbe
) -> list[Response]:
    """One record per question; the probe has been filled by the pass over the suffixes."""
    assert probe.scores_BN is not None, "the reference layer did not run"
    scores = probe.scores_BN.cpu().numpy()
    return [
        Response(
            text=tokenizer.decode(response.token_ids, skip_special_tokens=True).strip(),
            entropies=response.entropies if prompt.option_ids is None else response.entropies[:1],
            option_probabilities=_option_probabilities(response.first_logits_V, prompt.option_ids),
            attention_N=scores[row],
        )
        for row, (response, prompt) in enumerate(zip(responses, prompts, strict=True))
    ]


def _option_probabilities(logits_V: Tensor, option_ids: tuple[int, ...] | None) -> tuple[float, ...] | None:
    if option_ids is None:
        return None
    return tuple(logits_V.float()[list(option_ids)].softmax(dim=-1).tolist())
