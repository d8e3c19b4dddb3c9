"""Trains the demo model: vision tower, then language model on frozen features, then both on fresh clips.

Shape suffixes:
- B = clips, T = temporal patches, N = visual tokens of a clip, S = packed sequence, D = hidden size, V = vocabulary
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from pipeline.demo.augment import jitter_patches
from pipeline.demo.batches import Batch, pack_examples
from pipeline.demo.curriculum import TOKENS_PER_PATCH, draw_style
from pipeline.demo.examples import ClipStyle, ExampleMaker
from pipeline.demo.patches import TOKENS_PER_SIDE, PatchPool
from pipeline.demo.recipe import Log, Recipe, optimizer_steps
from pipeline.demo.scenes import COLORS, SHAPES
from pipeline.models.qwen_preprocess import PatchGeometry, flatten_patches

GRID_SIDE = 4  # patches of 14 pixels per frame side
_ALIGNMENT_SCALE = 0.25


class Trainer:
    """Holds the model and its data; each stage is one method."""

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast,
        pool: PatchPool,
        recipe: Recipe,
        log: Log,
    ) -> None:
        self._model, self._tokenizer, self._pool, self._recipe, self._log = model, tokenizer, pool, recipe, log
        self._rng = np.random.default_rng([recipe.seed, 5])  # each stage starts its own stream
        self._maker = ExampleMaker(pool, tokenizer, num_questions=recipe.num_questions)
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
            features = self.encode(patches, augments=True)
            shows = torch.from_numpy(pool.shows_NK[patches]).reshape(-1)
            shape = torch.from_numpy(pool.shape_N[patches]).repeat_interleave(TOKENS_PER_PATCH)
            color = torch.from_numpy(pool.color_N[patches]).repeat_interleave(TOKENS_PER_PATCH)
            is_empty = shape < 0
            shape_logits, color_logits = probe(features).split([len(SHAPES) + 1, len(COLORS)], dim=-1)
            known = shows | is_empty
            loss = nn.functional.cross_entropy(shape_logits[known], torch.where(is_empty, len(SHAPES), shape)[known])
            loss = loss + nn.functional.cross_entropy(color_logits[shows], color[shows])
            loss = loss + self._alignment(features, shape, color, shows)
            right = (shape_logits[shows].argmax(-1) == shape[shows]).float().mean()
            step(loss, f"shape accuracy {right:.3f}")

    def train_frozen(self) -> None:
        """Stage 2: the language model learns to look and to answer, on features that are computed once."""
        self._rng = np.random.default_rng([self._recipe.seed, 5])
        features_ND = self._encode_pool()
        parameters = [p for n, p in self._model.named_parameters() if "visual" not in n]
        total = self._recipe.frozen_steps
        for index, step in enumerate(optimizer_steps(parameters, self._recipe.frozen_rate, total, self._log, "frozen")):
            style = draw_style(self._rng, stage=index / total)
            loss, right = self._answer_loss(style, features_ND)
            step(loss, "right: words {:.3f}, letters {:.3f}".format(*right))

    def train_joint(self, on_check: Callable[[int], None] = lambda step: None) -> None:
        """Stage 3: all weights, fresh pixels every step; this is what makes empty groups uncertain."""
        recipe = self._recipe
        self._train_all(recipe.joint_steps, recipe.joint_rate, stage=1.0, stream=6, name="joint", on_check=on_check)

    def train_polish(self) -> None:
        """Stage 4: as before, slower, and with the short, crowded final passes that a small budget leaves."""
        recipe = self._recipe
        self._train_all(recipe.polish_steps, recipe.polish_rate, stage=2.0, stream=7, name="polish")

    def _train_all(
        self,
        steps: int,
        rate: float,
        *,
        stage: float,
        stream: int,
        name: str,
        on_check: Callable[[int], None] = lambda step: None,
    ) -> None:
        self._rng = np.random.default_rng([self._recipe.seed, stream])
        for index, step in enumerate(optimizer_steps(list(self._model.parameters()), rate, steps, self._log, name)):
            loss, right = self._answer_loss(draw_style(self._rng, stage=stage), None)
            step(loss, "right: words {:.3f}, letters {:.3f}".format(*right))
            if (index + 1) % 200 == 0:
                on_check(index + 1)

    def encode(self, patches: np.ndarray, *, augments: bool = False) -> Tensor:
        """``(T,)`` pool indices -> ``(T * 4, D)`` visual tokens; tokens of mirrored pictures are mirrored back."""
        frames_TFHWC = torch.from_numpy(self._pool.frames_NFHW3[patches])
        is_mirrored = torch.from_numpy(self._rng.random(len(patches)) < (0.5 if augments else 0.0))
        if augments:
            frames_TFHWC = torch.where(_wide(is_mirrored), frames_TFHWC.flip(3), frames_TFHWC)
            frames_TFHWC = jitter_patches(self._rng, frames_TFHWC)
        pixels = flatten_patches(frames_TFHWC.flatten(0, 1), geometry=PatchGeometry())
        grid = torch.tensor([[len(patches), GRID_SIDE, GRID_SIDE]])
        features: Tensor = self._model.model.visual(pixels, grid_thw=grid).pooler_output
        tokens = features.view(len(patches), TOKENS_PER_SIDE, TOKENS_PER_SIDE, -1)
        return torch.where(is_mirrored[:, None, None, None], tokens.flip(2), tokens).flatten(0, 2)

    @torch.no_grad()
    def _encode_pool(self) -> Tensor:
        chunks = np.array_split(np.arange(len(self._pool)), max(1, len(self._pool) // 512))
        return torch.cat([self.encode(chunk) for chunk in chunks]).view(len(self._pool), TOKENS_PER_PATCH, -1)

    @torch.no_grad()
    def probe_answers(self, style: ClipStyle) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Fresh clips without a training step.

        Returns:
            ``(A, V)`` logits at the answer tokens that matter, and per answer: does the clip decide it, is the
            likeliest token right (of the possible ones, where nothing decides), is it a letter.
        """
        _, _, batch, logits_AV = self._forward(style, None)
        matters = batch.weight_A == 1
        logits_AV, target_AV = logits_AV[matters], batch.target_AV[matters]
        is_sure = target_AV.amax(-1) == 1
        best = logits_AV.argmax(-1)
        is_right = target_AV[torch.arange(len(best)), best] > 0
        return logits_AV, is_sure, is_right, ~torch.isin(best, self._color_ids)

    def _forward(self, style: ClipStyle, features_ND: Tensor | None) -> tuple[np.ndarray, Tensor, Batch, Tensor]:
        """Draw a batch and run it: patches, visual tokens of all of them, the batch, logits at its targets."""
        count = self._recipe.joint_clips_per_batch if features_ND is None else self._recipe.clips_per_batch
        examples = [self._maker.make(self._rng, style) for _ in range(count)]
        batch = pack_examples(
            examples,
            prefix_ids=self._maker.prefix_ids,
            video_token_id=self._video_token_id,
            pad_id=0,
            vocab_size=len(self._tokenizer),
        )
        patches = np.concatenate([example.patches for example in examples])
        kept = np.concatenate([e.token_index_N + i * style.num_patches * 4 for i, e in enumerate(examples)])
        tokens = self.encode(patches, augments=True) if features_ND is None else features_ND[patches].flatten(0, 1)
        visual_BND = tokens[torch.from_numpy(kept)].view(len(examples), style.num_tokens, -1)
        return patches, tokens, batch, answer_logits(self._model, batch, visual_BND)

    def _answer_loss(self, style: ClipStyle, features_ND: Tensor | None) -> tuple[Tensor, tuple[float, float]]:
        patches, tokens, batch, logits_AV = self._forward(style, features_ND)
        losses = -(batch.target_AV * logits_AV.log_softmax(-1)).sum(-1)
        loss = (losses * batch.weight_A).sum() / batch.weight_A.sum()
        sure = (batch.target_AV.amax(-1) == 1) & (batch.weight_A == 1)
        is_right = logits_AV.argmax(-1) == batch.target_AV.argmax(-1)
        is_color = torch.isin(batch.target_AV.argmax(-1), self._color_ids)
        right = _share(is_right[sure & is_color]), _share(is_right[sure & ~is_color])
        if features_ND is None:
            shape, color = (
                torch.from_numpy(of[patches]).repeat_interleave(4) for of in (self._pool.shape_N, self._pool.color_N)
            )
            shows = torch.from_numpy(self._pool.shows_NK[patches]).reshape(-1)
            loss = loss + self._recipe.alignment_weight * self._alignment(tokens, shape, color, shows)
        return loss, right

    def _alignment(self, features: Tensor, shape: Tensor, color: Tensor, shows: Tensor) -> Tensor:
        """Cross-entropy of (visual token · word embedding) over shape words and over colour words."""
        words = self._model.get_input_embeddings().weight.detach()
        loss = features.new_zeros(())
        for ids, label in ((self._shape_ids, shape), (self._color_ids, color)):
            logits = features[shows] @ words[ids].T * _ALIGNMENT_SCALE
            loss = loss + nn.functional.cross_entropy(logits, label[shows])
        return loss


def answer_logits(model: Qwen2_5_VLForConditionalGeneration, batch: Batch, visual_BND: Tensor) -> Tensor:
    """``(A, V)`` logits at the target positions of a packed batch."""
    embeddings = model.get_input_embeddings()(batch.input_ids_BS)
    start, stop = batch.video_start, batch.video_start + visual_BND.shape[1]
    embeddings = torch.cat([embeddings[:, :start], visual_BND, embeddings[:, stop:]], dim=1)
    hidden = model.model.language_model(
        inputs_embeds=embeddings,
        position_ids=batch.position_ids_3BS,
        attention_mask=batch.mask_B1SS,
        use_cache=False,
    ).last_hidden_state
    logits: Tensor = model.lm_head(hidden[batch.target_row_A, batch.target_column_A])
    return logits


def _wide(values_T: Tensor) -> Tensor:
    return values_T[:, None, None, None, None]


def _share(is_right: Tensor) -> float:
    return is_right.float().mean().item() if len(is_right) else float("nan")
