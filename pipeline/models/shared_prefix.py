"""Questions over one shared prefix: all suffixes in one row, each of which sees the prefix and itself.

The prefix's keys and values stand once for all of them, and no suffix is padded. What a mask hides has a weight of
exactly zero, so a question is judged as if it stood alone.

Shape suffixes:
- B = questions, S = tokens of all suffixes, P = prefix, K = P + S, V = vocabulary, O = most options, N = visual tokens
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pipeline.models.attention_probe import AttentionProbe
from pipeline.models.devices.transfer import upload
from pipeline.models.generation import additive_mask, extend_greedily
from pipeline.models.interface import LaunchedResponses, QuestionPrompt
from pipeline.models.responses import PendingResponses, first_tokens, query_segments
from pipeline.models.text_model import TextModel
from pipeline.settings.config import ScoringConfig

MASKS_KEPT = 4  # micro-batches of one video; its groups come in at most two lengths


class PrefixScorer(Protocol):
    """How many questions start from one prefix: what of its pass is kept, and how they are asked."""

    def keep(self, cache: Any, *, visual: slice | Tensor, length: int, next_position: int) -> Any:
        """What a pass over the prefix left in its cache, in a form that stays the same however often it is asked.

        Args:
            cache: of that pass.
            visual: key positions of the visual tokens.
            length: tokens of the prefix.
            next_position: rotary position after them.
        """
        ...

    def launch(self, prefix: Any, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> LaunchedResponses:
        """Ask the questions of a micro-batch; see ``VideoModel.launch``."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SharedPrefix:
    """Keys and values of everything before the question; never changed after prefill.

    Attributes:
        layers: of the language model, ``(1, G, P, D)`` each.
        visual: key positions of the visual tokens: a slice, or indices where text stands between them.
        length: tokens of the prefix; ``next_position`` is the rotary position after them.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    visual: slice | Tensor
    length: int
    next_position: int

    @classmethod
    def of_cache(cls, cache: Any, *, visual: slice | Tensor, length: int, next_position: int) -> "SharedPrefix":
        """What a pass over the prefix left in its cache."""
        layers = tuple((layer.keys, layer.values) for layer in cache.layers)
        return cls(layers=layers, visual=visual, length=length, next_position=next_position)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Row:
    """The suffixes of one micro-batch in one row; the same for every group of that length."""

    segments: tuple[tuple[int, int], ...]
    ids_S: Tensor
    positions_S: Tensor
    last_B: Tensor
    visible_SK: npt.NDArray[np.bool_]
    mask_11SK: Tensor


class SharedPrefixScorer:
    """Asks the questions of a micro-batch about one prefilled group, in one pass."""

    def __init__(self, text: TextModel) -> None:
        self._text = text
        self._lay_out = lru_cache(maxsize=MASKS_KEPT)(partial(_lay_out, text))

    def keep(self, cache: Any, *, visual: slice | Tensor, length: int, next_position: int) -> SharedPrefix:
        """See ``PrefixScorer``."""
        return SharedPrefix.of_cache(cache, visual=visual, length=length, next_position=next_position)

    def launch(
        self, prefix: SharedPrefix, prompts: Sequence[QuestionPrompt], config: ScoringConfig
    ) -> PendingResponses:
        """Nothing is read back, unless a question is open: then its tokens are, one after the other."""
        text = self._text
        row = self._lay_out(tuple(prompt.suffix_ids for prompt in prompts), prefix.length, prefix.next_position)
        cache = text.new_cache()
        for index, (keys, values) in enumerate(prefix.layers):
            cache.update(keys, values, index)
        probe = AttentionProbe(
            layer=config.reference_layer,
            segments=query_segments(row.segments, config),
            visual=prefix.visual,
            reduce=config.attention_reduce,
        )
        hidden_SD = text.run(text.embed(row.ids_S), row.positions_S, cache=cache, mask_11TK=row.mask_11SK, probe=probe)
        last_B = row.last_B.to(hidden_SD.device)  # with several GPUs hidden states come out of the last one
        pending = first_tokens(text, text.logits(hidden_SD[last_B]), prompts, probe)
        open_rows = [index for index, prompt in enumerate(prompts) if prompt.max_tokens > 1]
        if open_rows:
            segments = [row.segments[index] for index in open_rows]
            extend_greedily(
                text,
                [pending.rows[index] for index in open_rows],
                cache=cache,
                visible_BT=row.visible_SK[[stop - 1 for _, stop in segments]],
                next_positions=[prefix.next_position + stop - start for start, stop in segments],
            )
        return pending


def _lay_out(text: TextModel, suffixes: tuple[tuple[int, ...], ...], prefix_length: int, next_position: int) -> _Row:
    """Token ids, positions and mask of one micro-batch; every suffix starts at the position after the prefix."""
    lengths = [len(suffix) for suffix in suffixes]
    ends = list(itertools.accumulate(lengths))
    segments = tuple((end - length, end) for end, length in zip(ends, lengths, strict=True))
    owner_S = np.repeat(np.arange(len(suffixes)), lengths)
    place_S = np.arange(ends[-1])
    among_SS = (owner_S[:, None] == owner_S[None, :]) & (place_S[:, None] >= place_S[None, :])
    visible_SK = np.concatenate([np.ones((ends[-1], prefix_length), dtype=bool), among_SS], axis=1)
    offsets_S = np.concatenate([np.arange(length) for length in lengths])
    return _Row(
        segments=segments,
        ids_S=upload(np.concatenate([np.asarray(suffix) for suffix in suffixes]), text.device),
        positions_S=upload(next_position + offsets_S, text.device),
        last_B=upload(np.asarray(ends) - 1, text.device),
        visible_SK=visible_SK,
        mask_11SK=additive_mask(visible_SK, text),
    )
