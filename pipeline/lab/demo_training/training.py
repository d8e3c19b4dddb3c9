"""Trains the demo model: vision tower, then language model on frozen features, then both on fresh clips.

Shape suffixes:
- B = clips, T = temporal patches, N = visual tokens of a clip, S = packed sequence, D = hidden size, V = vocabulary
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from pipeline.demo.scenes import COLORS, SHAPES
from pipeline.lab.demo_training.alignment_loss import alignment_loss
from pipeline.lab.demo_training.batches import PackedBatch, pack_examples
from pipeline.lab.demo_training.clip_source import ClipSource, DrawClips
from pipeline.lab.demo_training.curriculum import TOKENS_PER_PATCH
from pipeline.lab.demo_training.event_styles import EventStyle
from pipeline.lab.demo_training.examples import ClipStyle, Example
from pipeline.lab.demo_training.packed_pass import answer_loss, right_shares, run_packed
from pipeline.lab.demo_training.patches import PatchPool
from pipeline.lab.demo_training.question_text import TextMaker
from pipeline.lab.demo_training.ranking_loss import ranking_loss
from pipeline.lab.demo_training.recipe import Log, Recipe, optimizer_steps
from pipeline.lab.demo_training.timing_probe import TimingProbe
from pipeline.lab.demo_training.visual_tokens import encode_patches
from pipeline.lab.synthetic.questions import KINDS, Kind

_CHECK_STEPS = 200


class Trainer:
    """Holds the model and its data; each stage is one method."""

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast,
        pool: PatchPool,
        recipe: Recipe,
        log: Log,
        on_check: Callable[[], None] = lambda: None,
    ) -> None:
        self._model, self._tokenizer, self._pool, self._recipe, self._log = model, tokenizer, pool, recipe, log
        self._timing: TimingProbe | None = None
        self._teaches_ranking = False
        self._on_check = on_check  # called every 200 steps of a stage that answers questions
        self._rng = np.random.default_rng([recipe.seed, 5])  # each stage starts its own stream
        self._text = TextMaker(tokenizer)
        self._probed = self._source(pool)
        self._video_token_id = tokenizer.convert_tokens_to_ids("<|video_pad|>")
        self._shape_ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(SHAPES)))
        self._color_ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(COLORS)))

    def train_vision(self) -> None:
        """Stage 1: each token names shape and colour, by a throw-away probe and by the word embeddings."""
        recipe, pool = self._recipe, self._pool
        self._rng = np.random.default_rng([recipe.seed, 5])
        probe = nn.Linear(128, len(SHAPES) + 1 + len(COLORS))
        parameters = [*self._model.model.visual.parameters(), *probe.parameters()]
        objects, background = np.flatnonzero(pool.shape_N >= 0), np.flatnonzero(pool.shape_N < 0)
        for step in optimizer_steps(parameters, recipe.vision_rate, recipe.vision_steps, self._log, "vision"):
            patches = np.concatenate([self._rng.choice(objects, 160), self._rng.choice(background, 64)])
            features = self._encode(patches, augments=True)
            shows = torch.from_numpy(pool.shows_NK[patches]).reshape(-1)
            shape = torch.from_numpy(pool.shape_N[patches]).repeat_interleave(TOKENS_PER_PATCH)
            color = torch.from_numpy(pool.color_N[patches]).repeat_interleave(TOKENS_PER_PATCH)
            is_empty = shape < 0
            shape_logits, color_logits = probe(features).split([len(SHAPES) + 1, len(COLORS)], dim=-1)
            known = shows | is_empty
            loss = nn.functional.cross_entropy(shape_logits[known], torch.where(is_empty, len(SHAPES), shape)[known])
            loss = loss + nn.functional.cross_entropy(color_logits[shows], color[shows])
            loss = loss + self._alignment_loss(features, patches)
            right = (shape_logits[shows].argmax(-1) == shape[shows]).float().mean()
            step(loss, f"shape accuracy {right:.3f}")

    def train_frozen(self) -> None:
        """Stage 2: the language model learns to look and to answer, on features that are computed once."""
        recipe = self._recipe
        self._rng = np.random.default_rng([recipe.seed, 5])
        features_NKD = self._encode_pool(self._pool, augments=False)
        needles = self._source(self._pool).needles
        self._train_answers("frozen", recipe.frozen_steps, recipe.frozen_rate, needles, features_NKD)

    def train_joint(self) -> None:
        """Stage 3: all weights, fresh pixels every step; this is what makes empty groups uncertain."""
        self._rng = np.random.default_rng([self._recipe.seed, 6])
        source = self._source(self._pool)
        self._train_answers("joint", self._recipe.joint_steps, self._recipe.joint_rate, source.joint, None)

    def train_polish(self) -> None:
        """Stage 4: as before, slower, and with the short, crowded final passes that a small budget leaves."""
        self._rng = np.random.default_rng([self._recipe.seed, 7])
        draw = self._source(self._pool).polish
        self._train_answers("polish", self._recipe.polish_steps, self._recipe.polish_rate, draw, None)

    def train_glimpse(self) -> None:
        """Stage 5: first and last colour of one object, in passes of a few tokens, on frozen features."""
        self._train_on_frozen("glimpse", self._recipe.glimpse_steps, self._recipe.glimpse_rate, ClipSource.glimpse, 8)

    def train_events(self) -> None:
        """Stage 6: order, number, last value and missing answers, in passes that grow to whole groups."""
        self._train_on_frozen("events", self._recipe.event_steps, self._recipe.event_rate, ClipSource.events, 9)

    def train_practice(self) -> None:
        """Stage 7: more of the same, whole groups and partial evidence above all."""
        recipe = self._recipe
        self._train_on_frozen("practice", recipe.practice_steps, recipe.practice_rate, ClipSource.practice, 11)

    def train_drill(self) -> None:
        """Stage 8: the same, without the easiest passes."""
        recipe = self._recipe
        self._train_on_frozen("drill", recipe.drill_steps, recipe.practice_rate, ClipSource.drill, 11)

    def train_rehearsal(self) -> None:
        """Stage 9: final passes as a run's selection leaves them, and a layer that ranks all that is asked alike."""
        self._rehearse("rehearsal", self._recipe.rehearsal_steps, self._recipe.rehearsal_rate, ClipSource.rehearsal, 12)

    def train_review(self) -> None:
        """Stage 11: as rehearsal, on features as they are now, in larger final passes too."""
        self._rehearse("review", self._recipe.review_steps, self._recipe.review_rate, ClipSource.review, 13)

    def train_encore(self) -> None:
        """Stage 13: as review, with the budget of a run."""
        self._rehearse("encore", self._recipe.encore_steps, self._recipe.encore_rate, ClipSource.encore, 15)

    def _rehearse(
        self, name: str, total: int, rate: float, draw: Callable[[ClipSource, float], DrawClips], stream: int
    ) -> None:
        self._teaches_ranking = True
        self._train_on_frozen(name, total, rate, draw, stream)
        self._teaches_ranking = False

    def _train_on_frozen(
        self, name: str, total: int, rate: float, draw: Callable[[ClipSource, float], DrawClips], stream: int
    ) -> None:
        """Features of some videos only. A throw-away probe makes visual tokens say where they stand in time."""
        self._rng = np.random.default_rng([self._recipe.seed, stream])
        torch.manual_seed(self._recipe.seed)
        self._timing = TimingProbe(hidden_size=self._model.config.text_config.hidden_size)
        pool = self._pool.first_videos(self._recipe.event_videos)
        features_NKD = self._encode_pool(pool, augments=True)
        source = self._source(pool, features_NKD)
        self._train_answers(name, total, rate, lambda done: draw(source, done), features_NKD)
        self._timing = None

    def train_settle(self) -> None:
        """Stage 10: all weights on fresh clips of old and new kinds."""
        self._train_on_fresh("settle", self._recipe.settle_steps, self._recipe.settle_rate, 10)

    def train_finish(self) -> None:
        """Stage 12: once more; this is what makes groups uncertain that show only what resembles the asked object."""
        self._train_on_fresh("finish", self._recipe.finish_steps, self._recipe.finish_rate, 14)

    def _train_on_fresh(self, name: str, total: int, rate: float, stream: int) -> None:
        self._rng = np.random.default_rng([self._recipe.seed, stream])
        self._teaches_ranking = True
        self._train_answers(name, total, rate, self._source(self._pool).practice, None)
        self._teaches_ranking = False

    def _train_answers(
        self, name: str, total: int, rate: float, draw: Callable[[float], DrawClips], features_NKD: Tensor | None
    ) -> None:
        """One step per batch; ``draw`` is told the share of steps done.

        ``features_NKD`` are visual tokens of the pool, and the vision tower is left as it is;
        with None it is trained too.
        """
        recipe = self._recipe
        is_frozen = features_NKD is not None
        parameters = [p for n, p in self._model.named_parameters() if not is_frozen or "visual" not in n]
        parameters += [] if self._timing is None else list(self._timing.parameters())
        count = recipe.clips_per_batch if is_frozen else recipe.joint_clips_per_batch
        horizon = {"glimpse": recipe.glimpse_horizon, "drill": recipe.drill_horizon}.get(name)
        for index, step in enumerate(optimizer_steps(parameters, rate, total, self._log, name, horizon=horizon)):
            loss, right = self._answer_loss(draw(index / total)(count), features_NKD)
            step(loss, "right: words {:.3f}, letters {:.3f}".format(*right))
            if (index + 1) % _CHECK_STEPS == 0:
                self._on_check()

    def _source(self, pool: PatchPool, features_NKD: Tensor | None = None) -> ClipSource:
        return ClipSource(pool, self._text, self._recipe, self._rng, features_NKD)

    def _encode(self, patches: np.ndarray, *, augments: bool) -> Tensor:
        return encode_patches(self._model, self._pool, patches, rng=self._rng, augments=augments)

    @torch.no_grad()
    def _encode_pool(self, pool: PatchPool, *, augments: bool) -> Tensor:
        """``(N, K, D)`` visual tokens of a pool that is the first part of the whole one."""
        chunks = np.array_split(np.arange(len(pool)), max(1, len(pool) // 512))
        features_ND = torch.cat([self._encode(chunk, augments=augments) for chunk in chunks])
        return features_ND.view(len(pool), TOKENS_PER_PATCH, -1)

    def draw_examples(self, style: ClipStyle | EventStyle, kinds: Sequence[Kind] = KINDS) -> list[Example]:
        """As many fresh clips as one joint step takes; ``kinds`` limits what is asked about long videos."""
        return self._probed.of_style(style, self._recipe.joint_clips_per_batch, kinds=kinds)

    @torch.no_grad()
    def probe_answers(self, examples: list[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Answers without a training step.

        Returns:
            ``(A, V)`` logits at the answer tokens that matter, and per answer: does the clip decide it, is the
            likeliest token right (of the possible ones, where nothing decides), is it a letter.
        """
        _, _, batch, logits_AV, _ = self._forward(examples, None)
        matters = batch.weight_A == 1
        logits_AV, target_AV = logits_AV[matters], batch.target_AV[matters]
        is_sure = target_AV.amax(-1) == 1
        best = logits_AV.argmax(-1)
        is_right = target_AV[torch.arange(len(best)), best] > 0
        return logits_AV, is_sure, is_right, ~torch.isin(best, self._color_ids)

    def _forward(
        self, examples: list[Example], features_NKD: Tensor | None
    ) -> tuple[np.ndarray, Tensor, PackedBatch, Tensor, Tensor]:
        """Run a batch: patches, visual tokens of all of them, the packed batch, logits at its targets, timing loss."""
        batch = pack_examples(
            examples,
            prefix_ids=self._text.prefix_ids,
            video_token_id=self._video_token_id,
            pad_id=0,
            vocab_size=len(self._tokenizer),
        )
        patches = np.concatenate([example.patches for example in examples])
        counts = [len(example.patches) * TOKENS_PER_PATCH for example in examples]
        starts = np.cumsum(counts) - counts
        kept = np.concatenate([e.token_index_N + start for e, start in zip(examples, starts, strict=True)])
        tokens = self._encode(patches, augments=True) if features_NKD is None else features_NKD[patches].flatten(0, 1)
        visual_BND = tokens[torch.from_numpy(kept)].view(len(examples), len(examples[0].token_index_N), -1)
        logits_AV, hidden = run_packed(self._model, batch, visual_BND)
        loss = tokens.new_zeros(())
        if self._timing is not None and examples[0].run_N is not None:
            loss = loss + self._recipe.timing_weight * self._timing.loss(examples, hidden, start=batch.video_start)
        if self._teaches_ranking:
            loss = loss + self._recipe.ranking_weight * ranking_loss(self._model, batch, hidden, examples)
        return patches, tokens, batch, logits_AV, loss

    def _answer_loss(self, examples: list[Example], features_NKD: Tensor | None) -> tuple[Tensor, tuple[float, float]]:
        patches, tokens, batch, logits_AV, timing_loss = self._forward(examples, features_NKD)
        loss = answer_loss(batch, logits_AV) + timing_loss
        if features_NKD is None:
            loss = loss + self._recipe.alignment_weight * self._alignment_loss(tokens, patches)
        return loss, right_shares(batch, logits_AV, self._color_ids)

    def _alignment_loss(self, features: Tensor, patches: np.ndarray) -> Tensor:
        embeddings = self._model.get_input_embeddings().weight.detach()
        words = embeddings[self._shape_ids], embeddings[self._color_ids]
        return alignment_loss(features, self._pool, patches, words=words)
