"""The language model of a checkpoint with its head: explicit positions and masks in, hidden states and logits out.

No mask is ever built from padding: a row is causal or brings its own mask, so nothing is read back from the device.

Shape suffixes:
- B = rows, T = tokens of a pass, K = cached and new tokens, D = hidden size, V = vocabulary, A = rotary axes
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from pipeline.models.attention_check import AttentionShape
from pipeline.models.attention_probe import AttentionProbe
from pipeline.models.key_parts import KeyParts


class TextModel:
    """One row of tokens at a time, or rows side by side.

    Attributes:
        tokenizer: of the checkpoint.
        end_ids: tokens that end a response.
        device: where tokens enter; ``dtype`` is the weights'.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, rope_axes: int = 3, answer_marks: tuple[str, str] = ("", "")
    ) -> None:
        self.tokenizer, self.end_ids = tokenizer, _end_ids(model)
        vocabulary = tokenizer.get_vocab() if any(answer_marks) else {}
        self._mark_ids = {vocabulary[mark] for mark in answer_marks if mark in vocabulary}
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self._config, self._rope_axes = model.config, rope_axes
        self._language, self._embed, self._head = (
            model.model.language_model,
            model.get_input_embeddings(),
            model.get_output_embeddings(),
        )
        self._cache_name = cache_argument(self._language)

    def write_out(self, ids: Sequence[int]) -> str:
        """A response as text, without special tokens and marks around an answer."""
        said = [token for token in ids if token not in self._mark_ids]
        text: str = self.tokenizer.decode(said, skip_special_tokens=True)
        return text.strip()

    def new_cache(self) -> Any:
        """An empty cache of keys and values."""
        return DynamicCache(config=self._config)

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids ``(T,)`` -> embeddings ``(T, D)``."""
        embeddings: Tensor = self._embed(ids)
        return embeddings

    def run(
        self,
        embeddings_TD: Tensor,
        positions: Tensor,
        *,
        cache: Any,
        mask_11TK: Tensor | None = None,
        parts: KeyParts | None = None,
        probe: AttentionProbe | None = None,
        **extra: Any,
    ) -> Tensor:
        """Last hidden states ``(T, D)``; extends the cache.

        Args:
            embeddings_TD: of the new tokens; ``(B, T, D)`` are rows side by side, each over its own row of the cache,
                that share positions and mask, and so are the hidden states.
            positions: ``(T,)``, the same on all rotary axes, or ``(A, T)``.
            cache: keys and values of the tokens before.
            mask_11TK: additive; None is causal, which needs an empty cache or a single token.
            parts: attend in place of the cache and the mask.
            probe: filled at its layer.
            extra: what a family's language model takes besides.
        """
        num_cached, num_new = cache.get_seq_length(), embeddings_TD.shape[-2]
        assert mask_11TK is not None or parts is not None or num_new == 1 or num_cached == 0
        if self._rope_axes == 1:
            _settle_scaling(self._language.rotary_emb, num_cached + num_new)
        position_ids = positions[None] if self._rope_axes == 1 else positions.expand(self._rope_axes, -1)[:, None]
        hidden_BTD: Tensor = self._language(
            inputs_embeds=embeddings_TD if embeddings_TD.dim() == 3 else embeddings_TD[None],
            position_ids=position_ids,
            attention_mask=mask_11TK,
            use_cache=True,
            attention_probe=probe,
            key_parts=parts,
            **{self._cache_name: cache},
            **extra,
        ).last_hidden_state
        return hidden_BTD if embeddings_TD.dim() == 3 else hidden_BTD[0]

    @property
    def attention_shape(self) -> AttentionShape | None:
        """Of all layers; None where some are no plain attention to all tokens before."""
        config = self._config.text_config
        if set(getattr(config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
            return None
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return AttentionShape(
            heads=config.num_attention_heads,
            key_heads=config.num_key_value_heads,
            head_dim=head_dim,
            scaling=head_dim**-0.5,
        )

    def is_scaled(self, num_positions: int) -> bool:
        """Whether rotary frequencies depend on a pass's own length, if it reaches so many positions."""
        return (
            self._rope_axes == 1
            and _is_dynamic(rotary := self._language.rotary_emb)
            and not _is_plain(rotary, num_positions)
        )

    def logits(self, hidden_TD: Tensor) -> Tensor:
        """``(T, V)`` in the weights' type."""
        logits_TV: Tensor = self._head(hidden_TD)
        return logits_TV


def cache_argument(module: Any) -> str:
    """What the installed transformers calls a pass's cache: ``cache``, which 5.40 insists on, or its old name."""
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"


def _settle_scaling(rotary: Any, num_positions: int) -> None:
    """Spare stock dynamic scaling its question for the longest position, where the host knows the answer.

    It asks the device twice per pass, and changes something only beyond the trained context, or after it was there.

    Args:
        rotary: of the language model; plain positions only.
        num_positions: cached and new; no position is higher.
    """
    if _is_dynamic(rotary):
        given = rotary.config.rope_parameters["rope_type"]
        rotary.rope_type = "default" if _is_plain(rotary, num_positions) else given


def _is_dynamic(rotary: Any) -> bool:
    return "dynamic" in rotary.config.rope_parameters["rope_type"]


def _is_plain(rotary: Any, num_positions: int) -> bool:
    trained = rotary.original_max_seq_len
    return bool(num_positions <= trained and rotary.max_seq_len_cached <= trained)


def _end_ids(model: Any) -> frozenset[int]:
    """Tokens that end a response, by the checkpoint's configuration."""
    ids: set[int] = set()
    for config in (model.generation_config, model.config.text_config):
        value = getattr(config, "eos_token_id", None)
        ids.update(value if isinstance(value, list) else [] if value is None else [value])
    return frozenset(ids)
