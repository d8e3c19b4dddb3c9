"""One small random model in both forms: behind the adapter, and as stock transformers with eager attention.

A family says how its stock side is asked; what is compared is the same for all. Stock gets the family's own pixels and
token ids, and runs without a cache.

Shape suffixes:
- A = heads, R = rows after the last visual token, N = visual tokens, V = vocabulary
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.models.interface import FinalTokens
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ScoringConfig

NUM_PATCHES = 3
Question = tuple[str, tuple[str, ...] | None]


@dataclass(frozen=True, kw_only=True)
class StockRun:
    """What one full eager forward over prompt and clip gave: the last logits, attention at the reference layer."""

    logits_V: torch.Tensor
    weights_ARN: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Case(ABC):
    """One model in both forms, with one clip; three temporal patches, unless a test brings its own frames.

    Attributes:
        family: row of the registry.
        layer: the reference layer.
        patch_s: seconds between patches.
        centers_s: mean presentation time of each patch; None where the family does not write it.
        questions: two with options, two open ones, of different lengths.
        choice: one with three options; ``open_question`` has an answer of several tokens.
        max_positions: as the configuration says.
        response_tokens: longest response of a group, ``answer_tokens`` of a final pass.
    """

    family: str
    adapter: Any
    stock: Any
    tokenizer: Any
    frames: Any
    geometry: Any
    layer: int
    questions: tuple[Question, ...]
    choice: Question
    open_question: str
    max_positions: int
    response_tokens: int = 6
    answer_tokens: int = 5
    frames_per_patch: int = 2
    patch_s: float = 1.0
    centers_s: Any = None
    _runs: dict[Any, StockRun] = field(default_factory=dict)

    @abstractmethod
    def run(self, question: Question, tail: Sequence[int] = ()) -> StockRun:
        """Stock over the whole clip, the question, and so much of a response."""

    @abstractmethod
    def run_kept(self, question: Question, kept: Sequence[int], tail: Sequence[int] = ()) -> StockRun:
        """Stock over some of the clip's visual tokens, at the places they had in it; ``N`` are these."""

    @abstractmethod
    def stock_features(self) -> torch.Tensor:
        """``(N, E)`` of the clip by stock, in one batch."""

    def over(self, frames: Any, *, samples: Sequence[int], sample_fps: float) -> "Case":
        """The same model over frames of a video; each one's number among the samples."""
        return replace(self, frames=frames, _runs={})

    def only(self, patches: Sequence[int]) -> "Case":
        """These patches as a clip of their own."""
        frames = [patch * self.frames_per_patch + i for patch in patches for i in range(self.frames_per_patch)]
        return replace(self, frames=self.frames[frames], _runs={})

    @property
    def per_patch(self) -> int:
        return self.geometry.tokens_per_patch

    @property
    def num_patches(self) -> int:
        return len(self.frames) // self.frames_per_patch

    @property
    def num_tokens(self) -> int:
        return self.num_patches * self.per_patch

    def stock_run(self, question: Question, tail: Sequence[int] = ()) -> StockRun:
        """``run``, once for the same question."""
        key = (question, tuple(tail))
        if key not in self._runs:
            self._runs[key] = self.run(question, tail)
        return self._runs[key]

    def respond_stock(
        self, question: Question, *, max_tokens: int, end_token: str | None = "<|im_end|>"
    ) -> tuple[list[int], list[torch.Tensor]]:
        """Naive greedy loop, the whole sequence again for every token: response ids and the logits of each."""
        end_id = self.tokenizer.convert_tokens_to_ids(end_token) if end_token else None
        ids: list[int] = []
        logits: list[torch.Tensor] = []
        while len(ids) < max_tokens and end_id not in ids:
            logits.append(self.stock_run(question, ids).logits_V)
            ids.append(int(logits[-1].argmax()))
        return ids, logits

    def as_adapter(self, model: Any) -> Any:
        return as_adapter(self.family, model, self.tokenizer)

    def encode(self, adapter: Any, *, batch_patches: int = NUM_PATCHES) -> Any:
        return adapter.encode(self.frames, self.geometry, batch_patches=batch_patches)

    def prefill(self, adapter: Any, features: Any) -> Any:
        return adapter.prefill(features, self.geometry, patch_s=self.patch_s, center_s_P=self.centers_s)

    def prompts(self, adapter: Any) -> list[Any]:
        return [adapter.build_question(*question, response_tokens=self.response_tokens) for question in self.questions]

    def score(self, prefix: Any, prompts: Any, **changes: Any) -> Any:
        return self.adapter.score(prefix, prompts, ScoringConfig(reference_layer=self.layer, **changes))

    def final_tokens(self, features: Any, kept: Any, *, apart: int = 1) -> FinalTokens:
        """The chosen tokens of the clip, whose patches are ``apart`` patches from each other in the video."""
        patch_K, place_K = np.divmod(np.asarray(kept), self.per_patch)
        return FinalTokens(
            features_KD=features[torch.from_numpy(np.asarray(kept))],
            patch_K=patch_K * apart,
            time_s_K=patch_K * (apart * self.patch_s),
            row_K=place_K // self.geometry.token_columns,
            column_K=place_K % self.geometry.token_columns,
        )

    def answer(self, tokens: FinalTokens, prompt: Any, positions: str = "absolute") -> Any:
        return self.adapter.answer(
            tokens,
            prompt,
            positions=positions,
            patch_s=self.patch_s,
            max_tokens=self.answer_tokens,
            config=ScoringConfig(reference_layer=self.layer),
        )


def as_adapter(family: str, model: Any, tokenizer: Any) -> Any:
    """A copy of a stock model behind the interface, as loading would put it there."""
    row, model = FAMILIES[family], copy.deepcopy(model)
    model.set_attn_implementation(dict(row.attention))
    return row.build(model, tokenizer, name="tiny", revision="0")


def causal_without(dropped: Sequence[int], length: int) -> torch.Tensor:
    """Additive mask ``(1, 1, length, length)``: causal, and nobody sees what stands at the dropped places."""
    allowed = torch.ones(length, length, dtype=torch.bool).tril()
    allowed[:, list(dropped)] = False
    return torch.zeros(1, 1, length, length).masked_fill(~allowed, torch.finfo(torch.float32).min)


@contextmanager
def given_features(stock: Any, name: str, outputs: Any) -> Iterator[None]:
    """Inside, ``name`` (``get_video_features``, …) returns ``outputs``, whatever pixels it is given; None: its own.

    Transformers 5.17 has no argument for them and passes over one in silence.
    """
    if outputs is not None:
        setattr(stock.model, name, lambda *_, **__: outputs)
    try:
        yield
    finally:
        vars(stock.model).pop(name, None)  # the class's own again


def add_noise(model: Any, *, scale: float) -> Any:
    """Zero biases and unit norms would hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return model.eval()


def random_frames(count: int, height: int, width: int) -> Any:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def entropy(logits: torch.Tensor) -> float:
    """Float64, straight from the definition."""
    probabilities = logits.double().softmax(dim=-1)
    return float(-(probabilities * probabilities.log()).sum())


def assert_final_pass_equals(response: Any, run: StockRun, *, logits_V: torch.Tensor, prompt: Any) -> None:
    """First logits, attention of the visual tokens and options of a multiple choice question, within 2e-5."""
    torch.testing.assert_close(logits_V, run.logits_V, atol=2e-5, rtol=0)
    assert response.attention_N == pytest.approx(run.weights_ARN.amax(dim=(0, 1)).numpy(), abs=2e-5)
    options = run.logits_V[list(prompt.option_ids)].softmax(dim=-1)
    assert response.option_probabilities == pytest.approx(options.tolist(), abs=2e-5)
