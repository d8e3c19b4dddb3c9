"""Second stage: the language model learns to answer, on visual tokens that are computed once.

Shape suffixes:
- B = clips, N = visual tokens of a clip, A = positions with a target, V = vocabulary
- P = pictures of a pool, K = visual tokens of a picture, D = hidden size
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from pipeline.lab.demo_training.batches import PackedBatch, pack_examples
from pipeline.lab.demo_training.examples import Example
from pipeline.lab.demo_training.packed_pass import answer_loss, run_packed
from pipeline.lab.demo_training.question_text import TextMaker
from pipeline.lab.demo_training.ranking_loss import ranking_loss
from pipeline.lab.moment_training.answer_probe import AnswerProbe
from pipeline.lab.moment_training.clip_styles import ViewStyle
from pipeline.lab.moment_training.clips import ClipMaker
from pipeline.lab.moment_training.pool import Pool
from pipeline.lab.moment_training.token_probe import TokenProbe
from pipeline.lab.moments.questions import KINDS, UNANSWERABLE, Kind
from pipeline.method.entropy import token_entropies


@dataclass(frozen=True, kw_only=True, slots=True)
class LossWeights:
    """Of what is taught beside the answers."""

    probe: float = 0.3
    ranking: float = 0.15
    told: float = 0.5
    right_option: float = 0.5


class Reader:
    """The language model with the pictures' visual tokens; ``features`` stand by pool."""

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast,
        pools: Sequence[Pool],
        features: Sequence[Tensor],
        *,
        num_questions: int,
    ) -> None:
        text = TextMaker(tokenizer)
        self._model, self._pools, self._features = model, pools, features
        self._prefix_ids = text.prefix_ids
        self._video_token_id = tokenizer.convert_tokens_to_ids("<|video_pad|>")
        self._vocabulary = len(tokenizer)
        self._makers = [ClipMaker(pool, text, num_questions=num_questions) for pool in pools]

    def draw(
        self,
        rng: np.random.Generator,
        number: int,
        style: ViewStyle,
        count: int,
        *,
        kinds: Sequence[Kind] = KINDS,
    ) -> list[Example]:
        """Clips of one grid, asked about in these kinds."""
        return [self._makers[number].make(rng, style, kinds=kinds) for _ in range(count)]

    def run(self, examples: list[Example], number: int) -> tuple[PackedBatch, Tensor, tuple[Tensor, ...]]:
        """The packed batch, ``(A, V)`` logits at its targets, and hidden states before and after each layer."""
        grid = self._pools[number].grid
        batch = pack_examples(
            examples,
            prefix_ids=self._prefix_ids,
            video_token_id=self._video_token_id,
            pad_id=0,
            vocab_size=self._vocabulary,
            grid=(grid.rows, grid.columns),
        )
        features_PKD = self._features[number]
        visual = [
            features_PKD[torch.from_numpy(e.patches)].flatten(0, 1)[torch.from_numpy(e.token_index_N)] for e in examples
        ]
        logits_AV, hidden = run_packed(self._model, batch, torch.stack(visual))
        return batch, logits_AV, hidden

    def loss(
        self, examples: list[Example], number: int, probes: tuple[TokenProbe, AnswerProbe], weights: LossWeights
    ) -> tuple[Tensor, str]:
        """Of answers, probe and ranking; and a note for the log."""
        batch, logits_AV, hidden = self.run(examples, number)
        answers = answer_loss(batch, logits_AV)
        probe, answer_probe = probes
        probed, beside = probe.loss(examples, hidden, start=batch.video_start)
        ranked = ranking_loss(self._model, batch, hidden, examples)
        found = answer_probe.find(examples, start=batch.video_start + len(examples[0].token_index_N))
        told, told_right = answer_probe.told_loss(found, hidden)
        option, option_right = answer_probe.option_loss(found, hidden)
        loss = answers + weights.probe * probed + weights.ranking * ranked
        loss = loss + weights.told * told + weights.right_option * option
        right = right_share(batch, logits_AV)
        return loss, (
            f"answers {answers.item():.3f} right {right:.3f} told {told_right:.2f} options {option_right:.2f} "
            f"beside {beside:.2f} ranking {ranked.item():.2f}"
        )


def right_share(batch: PackedBatch, logits_AV: Tensor) -> float:
    """Of the answers that have one right token and matter; NaN where there is none."""
    is_sure_A = (batch.target_AV.amax(-1) == 1) & (batch.weight_A == 1)
    right_A = logits_AV.argmax(-1) == batch.target_AV.argmax(-1)
    return float(right_A[is_sure_A].float().mean())


@torch.no_grad()
def measure_reader(
    reader: Reader, style: ViewStyle, *, grids: Sequence[int], count: int, seed: int
) -> dict[str, float]:
    """By kind, the share of right letters where something of the evidence is in view; entropies where it is not.

    Args:
        reader: over pictures that training has not seen.
        style: of the clips; questions with options only.
        grids: one batch of each.
        count: of clips per batch.
        seed: of the clips.
    """
    figures: dict[str, float] = {}
    empty: list[Tensor] = []
    for kind in KINDS:
        right: list[Tensor] = []
        for number in grids:
            examples = reader.draw(np.random.default_rng([seed, number]), number, style, count, kinds=[kind])
            batch, logits_AV, _ = reader.run(examples, number)
            matters = batch.weight_A == 1
            target_AV, logits_AV = batch.target_AV[matters], logits_AV[matters]
            is_sure = target_AV.amax(-1) == 1
            right.append((logits_AV.argmax(-1) == target_AV.argmax(-1))[is_sure].float())
            if kind != "count":
                empty.append(token_entropies(logits_AV[~is_sure]))
        if kind not in UNANSWERABLE:
            figures[kind] = round(float(torch.cat(right).mean()), 3)
    entropies = torch.cat(empty)
    figures["empty_entropy"] = round(float(entropies.mean()), 3)
    figures["falsely_certain"] = round(float((entropies < 0.1).float().mean()), 4)
    return figures
