"""The final pass of one question: kept visual tokens, the text around them and the question in one causal row.

Shape suffixes: T = tokens, D = hidden size
"""

from typing import Any

from torch import Tensor

from pipeline.models.attention_probe import AttentionProbe
from pipeline.models.fast_paths import STOCK_PATHS, FastPaths
from pipeline.models.interface import QuestionPrompt, Response
from pipeline.models.key_parts import KeyState
from pipeline.models.responses import first_tokens, query_segments
from pipeline.models.text_model import TextModel
from pipeline.settings.config import ScoringConfig


def run_final_pass(
    text: TextModel,
    embeddings_TD: Tensor,
    positions: Tensor,
    prompt: QuestionPrompt,
    config: ScoringConfig,
    *,
    visual: slice | Tensor,
    next_position: int,
    paths: FastPaths = STOCK_PATHS,
    **extra: Any,
) -> Response:
    """Answer one question; attention is that of its suffix, the last tokens of the row.

    Args:
        text: the language model.
        embeddings_TD: of the whole row.
        positions: as in ``TextModel.run``.
        prompt: ``max_tokens`` is the longest answer.
        config: which attention is read.
        visual: places of the visual tokens.
        next_position: rotary position of the first answer token.
        paths: how the answer is generated.
        extra: what a family's language model takes besides.
    """
    length = len(embeddings_TD)
    suffix = (length - len(prompt.suffix_ids), length)
    probe = AttentionProbe(
        layer=config.reference_layer,
        segments=query_segments([suffix], config),
        visual=visual,
        reduce=config.attention_reduce,
    )
    cache = text.new_cache()
    hidden_TD = text.run(embeddings_TD, positions, cache=cache, probe=probe, **extra)
    pending = first_tokens(text, text.logits(hidden_TD[-1:]), [prompt], probe)
    if prompt.max_tokens > 1:
        paths.greedy.extend(
            text,
            pending,
            [0],
            state=KeyState(num_shared=length, num_own=0, cache=cache),
            bounds=[(0, 0)],
            next_positions=[next_position],
        )
    return pending.read()[0]
