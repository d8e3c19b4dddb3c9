"""Questions over a prefix of which most layers keep a state instead of keys: a row each, from a copy of that state.

A linear attention layer (gated delta net) sums up all tokens before in a recurrent state and keeps the last few for its
convolution. No mask can hide one question from another there, so questions never share a row: they stand side by side
in the batch dimension, in rows of one length. Multiple-choice questions are padded behind their last token, where a
causal model does not look; questions that go on with a response are not, because padding would enter the state.

Shape suffixes:
- B = questions of a batch, S = tokens of the longest, P = prefix, K = P + S, N = visual tokens, D = hidden size
- C = channels of the convolution, W = its width, H = heads, X, Y = sizes of a head's key and value, G = key heads
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.models.attention_probe import AttentionProbe
from pipeline.models.devices.transfer import Download, upload
from pipeline.models.generation import GreedyRow, additive_mask, choose_tokens
from pipeline.models.interface import QuestionPrompt
from pipeline.models.responses import PendingResponses, first_tokens, query_segments
from pipeline.models.shared_prefix import MASKS_KEPT
from pipeline.models.text_model import TextModel
from pipeline.settings.config import ScoringConfig


class LayerMemory(Protocol):
    """What one layer knows of the prefix."""

    def continue_in(self, cache: Any, layer: int, *, rows: int) -> None:
        """Give a new cache a copy per row."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KeysAndValues:
    """Of a full attention layer, ``(1, G, P, D)`` each."""

    keys: Tensor
    values: Tensor

    def continue_in(self, cache: Any, layer: int, *, rows: int) -> None:
        """See ``LayerMemory``."""
        cache.update(self.keys.expand(rows, -1, -1, -1), self.values.expand(rows, -1, -1, -1), layer)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LinearState:
    """Of a linear attention layer: ``(1, C, W)`` the last inputs of the convolution, ``(1, H, X, Y)`` the state."""

    last_inputs: Tensor
    state: Tensor

    def continue_in(self, cache: Any, layer: int, *, rows: int) -> None:
        """See ``LayerMemory``; stock code copies what it is given, and changes its copy in place."""
        cache.update_conv_state(self.last_inputs.expand(rows, -1, -1), layer)
        cache.update_recurrent_state(self.state.expand(rows, -1, -1, -1), layer)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RecurrentPrefix:
    """What every layer knows of everything before the question; never changed after prefill.

    Attributes:
        layers: of the language model.
        visual: key positions of the visual tokens: a slice, or indices where text stands between them.
        length: tokens of the prefix; ``next_position`` is the rotary position after them.
    """

    layers: tuple[LayerMemory, ...]
    visual: slice | Tensor
    length: int
    next_position: int


@dataclass(kw_only=True, slots=True, eq=False)
class RowsProbe(AttentionProbe):
    """A probe whose questions stand in rows of their own; ``segments`` has one range per row."""

    def read(self, query_1AQD: Tensor, key_1GTD: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
        """See ``AttentionProbe``; queries and keys have B rows here, which the mask is the same for."""
        rows = (
            AttentionProbe(layer=self.layer, segments=(segment,), visual=self.visual, reduce=self.reduce)
            for segment in self.segments
        )
        return torch.cat(
            [
                row.read(query_1AQD[number : number + 1], key_1GTD[number : number + 1], mask, scaling)
                for number, row in enumerate(rows)
            ]
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Batch:
    """The suffixes that stand side by side; the same for every group of that length."""

    segments: tuple[tuple[int, int], ...]
    ids_BS: Tensor
    positions_S: Tensor
    row_B: Tensor
    last_B: Tensor
    mask_11SK: Tensor


class RecurrentPrefixScorer:
    """Asks the questions of a micro-batch about one prefilled group, in as few batches as their order allows."""

    def __init__(self, text: TextModel) -> None:
        self._text = text
        self._lay_out = lru_cache(maxsize=MASKS_KEPT)(partial(_lay_out, text))

    def keep(self, cache: Any, *, visual: slice | Tensor, length: int, next_position: int) -> RecurrentPrefix:
        """See ``PrefixScorer``."""
        layers = tuple(
            LinearState(last_inputs=layer.conv_states[0], state=layer.recurrent_states[0])
            if hasattr(layer, "recurrent_states")
            else KeysAndValues(keys=layer.keys, values=layer.values)
            for layer in cache.layers
        )
        return RecurrentPrefix(layers=layers, visual=visual, length=length, next_position=next_position)

    def launch(
        self, prefix: RecurrentPrefix, prompts: Sequence[QuestionPrompt], config: ScoringConfig
    ) -> PendingResponses:
        """Nothing is read back, unless a question is open: then its tokens are, one after the other."""
        text, asked = self._text, [*_split(prompts)]
        probes, hidden, caches = [], [], []
        for together in asked:
            batch = self._lay_out(tuple(prompt.suffix_ids for prompt in together), prefix.length, prefix.next_position)
            cache, probe = text.new_cache(), _probe(prefix, batch.segments, config)
            for layer, memory in enumerate(prefix.layers):
                memory.continue_in(cache, layer, rows=len(together))
            hidden_BSD = text.run(
                text.embed(batch.ids_BS), batch.positions_S, cache=cache, mask_11TK=batch.mask_11SK, probe=probe
            )
            # with several GPUs hidden states come out of the last one
            hidden.append(hidden_BSD[batch.row_B.to(hidden_BSD.device), batch.last_B.to(hidden_BSD.device)])
            probes.append(probe)
            caches.append(cache if together[0].max_tokens > 1 else None)  # the others' copies go
        whole = _probe(prefix, (), config)
        whole.scores_BN = torch.cat([probe.scores_BN for probe in probes if probe.scores_BN is not None])
        pending = first_tokens(text, text.logits(torch.cat(hidden)), prompts, whole)
        first = 0
        for together, cache in zip(asked, caches, strict=True):
            if cache is not None:
                position = prefix.next_position + len(together[0].suffix_ids)
                extend_rows(text, pending.rows[first : first + len(together)], cache=cache, next_position=position)
            first += len(together)
        return pending


def _split(prompts: Sequence[QuestionPrompt]) -> Iterator[list[QuestionPrompt]]:
    """Neighbours that may stand side by side, in order: multiple choice of any length, open ones of one length."""
    for _, together in groupby(prompts, key=lambda prompt: len(prompt.suffix_ids) if prompt.max_tokens > 1 else 0):
        yield [*together]


def _probe(prefix: RecurrentPrefix, segments: Sequence[tuple[int, int]], config: ScoringConfig) -> RowsProbe:
    return RowsProbe(
        layer=config.reference_layer,
        segments=query_segments(segments, config),
        visual=prefix.visual,
        reduce=config.attention_reduce,
    )


def extend_rows(text: TextModel, rows: Sequence[GreedyRow], *, cache: Any, next_position: int) -> None:
    """``extend_greedily`` for questions of one length, which see all keys of their own rows."""
    step_ids = [row.token_ids[-1] for row in rows]
    while any(row.is_open(text.end_ids) for row in rows):
        embeddings_B1D = text.embed(upload(step_ids, text.device))[:, None]
        hidden_B1D = text.run(embeddings_B1D, upload([next_position], text.device), cache=cache)
        chosen_B, entropies_B = Download(*choose_tokens(text.logits(hidden_B1D[:, 0]))).read()
        step_ids, next_position = chosen_B.tolist(), next_position + 1
        for row, token, entropy in zip(rows, step_ids, entropies_B.tolist(), strict=True):
            row.add(token, entropy, text.end_ids)


def _lay_out(text: TextModel, suffixes: tuple[tuple[int, ...], ...], prefix_length: int, next_position: int) -> _Batch:
    """Token ids, padded at the end with zeros that nobody sees, positions and the mask that all rows share."""
    lengths = np.array([len(suffix) for suffix in suffixes])
    longest = int(lengths.max())
    ids_BS = np.array([[*suffix, *[0] * (longest - len(suffix))] for suffix in suffixes])
    visible_SK = np.tri(longest, prefix_length + longest, prefix_length, dtype=bool)
    return _Batch(
        segments=tuple((0, int(length)) for length in lengths),
        ids_BS=upload(ids_BS, text.device),
        positions_S=upload(next_position + np.arange(longest), text.device),
        row_B=upload(np.arange(len(suffixes)), text.device),
        last_B=upload(lengths - 1, text.device),
        mask_11SK=additive_mask(visible_SK, text),
    )
