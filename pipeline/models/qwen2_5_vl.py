"""Qwen2.5-VL behind the model interface: the stock transformers class, explicit positions, one shared prefix per group.

Shape suffixes:
- F = frames, N = visual tokens of a group, K = kept tokens, D = hidden size
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache

from pipeline.config import ScoringConfig
from pipeline.models.generation import end_ids, respond_greedily
from pipeline.models.interface import FinalTokens, FrameGeometry, QuestionPrompt, Response
from pipeline.models.prompt import build_prompt, letter_ids
from pipeline.models.qwen_layout import QwenLayout
from pipeline.models.qwen_positions import clip_positions, kept_positions
from pipeline.models.qwen_preprocess import flatten_patches, resize_frames
from pipeline.models.responses import build_probe, to_responses
from pipeline.models.shared_prefix import SharedPrefix, score_questions

_VIDEO_TOKEN = "<|video_pad|>"


class Qwen25VL:
    """Implements ``VideoModel``. One call at a time."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> None:
        self.name, self.revision = name, revision
        self._model, self._tokenizer = model, tokenizer
        self._layout = QwenLayout.from_config(model.config)
        self.frames_per_patch = self._layout.frames_per_patch
        self.num_layers = self._layout.num_layers
        self.max_positions = self._layout.max_positions
        self.similarity_dim = int(model.config.text_config.hidden_size)
        self._end_ids = end_ids(model)
        self._prefix_ids = build_prompt(tokenizer, video_token=_VIDEO_TOKEN, question="", options=None).prefix_ids

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """See ``VideoModel``; sides are multiples of 28 pixels."""
        return self._layout.frame_geometry(height, width, min_pixels=min_pixels, max_pixels=max_pixels)

    def build_question(self, question: str, options: Sequence[str] | None, *, response_tokens: int) -> QuestionPrompt:
        """See ``VideoModel``."""
        prompt = build_prompt(self._tokenizer, video_token=_VIDEO_TOKEN, question=question, options=options)
        if options is None:
            return QuestionPrompt(suffix_ids=prompt.suffix_ids, option_ids=None, max_tokens=response_tokens)
        ids = letter_ids(self._tokenizer, num_options=len(options))
        return QuestionPrompt(suffix_ids=prompt.suffix_ids, option_ids=ids, max_tokens=1)

    @torch.inference_mode()
    def encode(self, frames_FHW3: npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int) -> Tensor:
        """See ``VideoModel``; runs ``batch_patches`` temporal patches at a time."""
        step = batch_patches * self.frames_per_patch
        parts = []
        for start in range(0, len(frames_FHW3), step):
            frames = torch.from_numpy(frames_FHW3[start : start + step].copy()).to(self._model.device)
            frames = resize_frames(frames, height=geometry.height, width=geometry.width)
            pixels = flatten_patches(frames, geometry=self._layout.patches).to(self._model.dtype)
            merge = self._layout.patches.merge_size
            grid = [len(frames) // self.frames_per_patch, geometry.token_rows * merge, geometry.token_columns * merge]
            grid_thw = torch.tensor([grid], device=self._model.device)
            parts.append(self._model.model.visual(pixels, grid_thw=grid_thw).pooler_output)
        return torch.cat(parts)

    @torch.inference_mode()
    def prefill(
        self,
        features_ND: Tensor,
        geometry: FrameGeometry,
        *,
        patch_s: float,
        center_s_P: npt.NDArray[np.float64] | None = None,
    ) -> SharedPrefix:
        """See ``VideoModel``; the group is an ordinary clip to the model, whatever lies between its patches."""
        visual_3N = clip_positions(
            num_patches=len(features_ND) // geometry.tokens_per_patch,
            token_rows=geometry.token_rows,
            token_columns=geometry.token_columns,
            start=len(self._prefix_ids),
            patch_s=patch_s,
            tokens_per_second=self._layout.tokens_per_second,
        )
        embeddings, positions = self._join(features_ND, visual_3N, ())
        cache = DynamicCache(config=self._model.config)
        self._model.model.language_model(
            inputs_embeds=embeddings,
            position_ids=positions,
            attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device),
            past_key_values=cache,
            use_cache=True,
        )
        return SharedPrefix(
            layers=tuple((layer.keys, layer.values) for layer in cache.layers),
            visual=slice(len(self._prefix_ids), embeddings.shape[1]),
            length=embeddings.shape[1],
            next_position=int(visual_3N.max()) + 1,
        )

    @torch.inference_mode()
    def score(self, prefix: SharedPrefix, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> list[Response]:
        """See ``VideoModel``; the cache is copied into one batch row per question."""
        return score_questions(self._model, self._tokenizer, prefix, prompts, config, end_ids=self._end_ids)

    @torch.inference_mode()
    def answer(
        self,
        tokens: FinalTokens,
        prompt: QuestionPrompt,
        *,
        positions: str,
        patch_s: float,
        max_tokens: int,
        config: ScoringConfig,
    ) -> Response:
        """See ``VideoModel``."""
        start = len(self._prefix_ids)
        visual_3K = kept_positions(
            patch_N=tokens.patch_K,
            time_s_N=tokens.time_s_K,
            row_N=tokens.row_K,
            column_N=tokens.column_K,
            start=start,
            positions=positions,
            patch_s=patch_s,
            tokens_per_second=self._layout.tokens_per_second,
        )
        embeddings, position_ids = self._join(tokens.features_KD, visual_3K, prompt.suffix_ids)
        mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
        visual = slice(start, start + len(tokens.features_KD))
        probe = build_probe(mask[:, visual.stop :].bool(), visual, config)
        cache = DynamicCache(config=self._model.config)
        logits = self._model(
            inputs_embeds=embeddings,
            position_ids=position_ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            attention_probe=probe,
        ).logits[:, -1]
        responses = respond_greedily(
            self._model,
            logits,
            cache=cache,
            attention_mask_BT=mask,
            next_position_B=position_ids.amax(dim=(0, 2)) + 1,
            max_tokens=[max_tokens],
            end_ids=self._end_ids,
        )
        return to_responses(self._tokenizer, responses, [prompt], probe)[0]

    def _join(
        self, features_ND: Tensor, visual_3N: npt.NDArray[np.int64], suffix: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Embeddings ``(1, T, D)`` and positions ``(3, 1, T)`` of prefix text, visual tokens and suffix text."""
        device, embed = self._model.device, self._model.get_input_embeddings()
        before, after = (torch.tensor(ids, dtype=torch.long, device=device) for ids in (self._prefix_ids, suffix))
        features = features_ND.to(device=device, dtype=self._model.dtype)
        embeddings = torch.cat([embed(before), features, embed(after)])[None]
        text_start = int(visual_3N.max()) + 1
        positions = np.concatenate(
            [
                np.tile(np.arange(len(before)), (3, 1)),
                visual_3N,
                np.tile(np.arange(text_start, text_start + len(after)), (3, 1)),
            ],
            axis=1,
        )
        return embeddings, torch.from_numpy(positions)[:, None].to(device)
