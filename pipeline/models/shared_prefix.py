"""Questions over one shared prefix: all suffixes in one row, each of which sees the prefix and itself.

The prefix's keys and values stand once for all of them, and no suffix sees another, so a question is judged as if it
stood alone. How they attend and go on is ``fast_paths``' to say.

Shape suffixes:
- B = questions, S = tokens of all suffixes, P = prefix, D = hidden size, N = visual tokens
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from pipeline.models.attention_probe import AttentionProbe
from pipeline.models.devices.transfer import upload
from pipeline.models.fast_paths import STOCK_PATHS, FastPaths
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
    plan: Any


class SharedPrefixScorer:
    """Asks the questions of a micro-batch about one prefilled group, in one pass.

    Args:
        text: the language model.
        paths: how its passes attend and generate.
    """

    def __init__(self, text: TextModel, paths: FastPaths = STOCK_PATHS) -> None:
        self._text, self._paths = text, paths
        self._lay_out = lru_cache(maxsize=MASKS_KEPT)(self._lay_out_row)

    def keep(self, cache: Any, *, visual: slice | Tensor, length: int, next_position: int) -> SharedPrefix:
        """See ``PrefixScorer``."""
        return SharedPrefix.of_cache(cache, visual=visual, length=length, next_position=next_position)

    def launch(
        self, prefix: SharedPrefix, prompts: Sequence[QuestionPrompt], config: ScoringConfig
    ) -> PendingResponses:
        """Nothing is read back, unless a question is open: then its tokens are, as they come."""
        text = self._text
        row = self._lay_out(tuple(prompt.suffix_ids for prompt in prompts), prefix.length, prefix.next_position)
        probe = AttentionProbe(
            layer=config.reference_layer,
            segments=query_segments(row.segments, config),
            visual=prefix.visual,
            reduce=config.attention_reduce,
        )
        hidden_SD, state = self._paths.attention.run(
            text, text.embed(row.ids_S), row.positions_S, layers=prefix.layers, plan=row.plan, probe=probe
        )
        last_B = row.last_B.to(hidden_SD.device)  # with several GPUs hidden states come out of the last one
        pending = first_tokens(text, text.logits(hidden_SD[last_B]), prompts, probe)
        open_rows = [index for index, prompt in enumerate(prompts) if prompt.max_tokens > 1]
        if open_rows:
            segments = [row.segments[index] for index in open_rows]
            self._paths.greedy.extend(
                text,
                pending,
                open_rows,
                state=state,
                bounds=segments,
                next_positions=[prefix.next_position + stop - start for start, stop in segments],
            )
        return pending

    def _lay_out_row(self, suffixes: tuple[tuple[int, ...], ...], prefix_length: int, next_position: int) -> _Row:
        """Token ids and positions of one micro-batch; every suffix starts at the position after the prefix."""
        lengths = [len(suffix) for suffix in suffixes]
        ends = list(itertools.accumulate(lengths))
        segments = tuple((end - length, end) for end, length in zip(ends, lengths, strict=True))
        offsets_S = np.concatenate([np.arange(length) for length in lengths])
        device = self._text.device
        return _Row(
            segments=segments,
            ids_S=upload(np.concatenate([np.asarray(suffix) for suffix in suffixes]), device),
            positions_S=upload(next_position + offsets_S, device),
            last_B=upload(np.asarray(ends) - 1, device),
            plan=self._paths.attention.plan(self._text, segments, prefix_length),
        )
