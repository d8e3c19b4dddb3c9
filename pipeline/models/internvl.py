"""InternVL behind the model interface: the stock transformers class, one tile per frame, plain positions from 0.

The text model is whatever the checkpoint holds (Qwen2 in InternVL3, Qwen3 in InternVL3.5). Nothing but the order of the
tokens tells it of time.

Shape suffixes:
- F = frames, N = visual tokens of a group, K = kept tokens, T = whole sequence, D = hidden size
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
from pipeline.models.internvl_layout import InternVLLayout
from pipeline.models.internvl_preprocess import normalize_frames
from pipeline.models.internvl_prompt import VIDEO_TOKEN, FramePrompt, build_frame_prompt, count_by_frame
from pipeline.models.prompt import build_prompt, letter_ids, render_around_video
from pipeline.models.qwen_preprocess import resize_frames
from pipeline.models.responses import build_probe, to_responses
from pipeline.models.shared_prefix import SharedPrefix, score_questions


class InternVL:
    """Implements ``VideoModel``. One call at a time."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> None:
        self.name, self.revision = name, revision
        self._model, self._tokenizer = model, tokenizer
        self._layout = InternVLLayout.from_config(model.config)
        self.frames_per_patch = self._layout.frames_per_patch
        self.num_layers = self._layout.num_layers
        self.max_positions = self._layout.max_positions
        self.similarity_dim = int(model.config.text_config.hidden_size)
        self._end_ids = end_ids(model)
        self._before, _ = render_around_video(tokenizer, video_token=VIDEO_TOKEN, question="", options=None)
        build_frame_prompt(tokenizer, self._before, tokens_by_frame=[1])  # a tokenizer without frame tokens fails here

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """See ``VideoModel``; always the trained square."""
        return self._layout.frame_geometry(height, width, min_pixels=min_pixels, max_pixels=max_pixels)

    def build_question(self, question: str, options: Sequence[str] | None, *, response_tokens: int) -> QuestionPrompt:
        """See ``VideoModel``."""
        prompt = build_prompt(self._tokenizer, video_token=VIDEO_TOKEN, question=question, options=options)
        if options is None:
            return QuestionPrompt(suffix_ids=prompt.suffix_ids, option_ids=None, max_tokens=response_tokens)
        ids = letter_ids(self._tokenizer, num_options=len(options))
        return QuestionPrompt(suffix_ids=prompt.suffix_ids, option_ids=ids, max_tokens=1)

    @torch.inference_mode()
    def encode(self, frames_FHW3: npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int) -> Tensor:
        """See ``VideoModel``; runs ``batch_patches`` frames at a time, each as one tile."""
        parts = []
        for start in range(0, len(frames_FHW3), batch_patches):
            frames = torch.from_numpy(frames_FHW3[start : start + batch_patches].copy()).to(self._model.device)
            frames = resize_frames(frames, height=geometry.height, width=geometry.width)
            pixels = normalize_frames(frames).to(self._model.dtype)
            parts.append(self._model.model.get_image_features(pixel_values=pixels).pooler_output.flatten(0, 1))
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
        """See ``VideoModel``; frames are numbered within the group, times are not shown."""
        num_frames = len(features_ND) // geometry.tokens_per_patch
        prompt = self._show([geometry.tokens_per_patch] * num_frames)
        embeddings, positions, visual_N = self._join(prompt, features_ND, ())
        cache = DynamicCache(config=self._model.config)
        self._model.model.language_model(
            inputs_embeds=embeddings,
            position_ids=positions,
            attention_mask=torch.ones_like(positions),  # else positions may be taken for packed sequences
            past_key_values=cache,
            use_cache=True,
        )
        return SharedPrefix(
            layers=tuple((layer.keys, layer.values) for layer in cache.layers),
            visual=visual_N,
            length=embeddings.shape[1],
            next_position=embeddings.shape[1],
        )

    @torch.inference_mode()
    def score(self, prefix: SharedPrefix, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> list[Response]:
        """See ``VideoModel``."""
        return score_questions(
            self._model, self._tokenizer, prefix, prompts, config, end_ids=self._end_ids, rope_axes=1
        )

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
        """See ``VideoModel``; frames are numbered anew, see ``count_by_frame`` for what ``positions`` decides."""
        tokens_by_frame = count_by_frame(
            tokens.patch_K, positions=positions, tokens_per_frame=self._layout.tokens_per_frame
        )
        frames = self._show(tokens_by_frame)
        embeddings, position_ids, visual_K = self._join(frames, tokens.features_KD, prompt.suffix_ids)
        mask = torch.ones_like(position_ids)
        probe = build_probe(mask[:, len(frames.ids_T) :].bool(), visual_K, config)
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
            next_position_B=mask.sum(dim=1),
            max_tokens=[max_tokens],
            end_ids=self._end_ids,
            rope_axes=1,
        )
        return to_responses(self._tokenizer, responses, [prompt], probe)[0]

    def _show(self, tokens_by_frame: Sequence[int]) -> FramePrompt:
        return build_frame_prompt(self._tokenizer, self._before, tokens_by_frame=tokens_by_frame)

    def _join(self, prompt: FramePrompt, features_ND: Tensor, suffix: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings ``(1, T, D)``, positions ``(1, T)`` and places ``(N,)`` of the visual tokens."""
        device = self._model.device
        ids_T = torch.from_numpy(np.append(prompt.ids_T, np.array(suffix, dtype=np.int64))).to(device)
        visual_N = torch.from_numpy(prompt.visual_N).to(device)
        embeddings_TD = self._model.get_input_embeddings()(ids_T)
        features = features_ND.to(device=device, dtype=embeddings_TD.dtype)
        embeddings_TD = embeddings_TD.index_copy(0, visual_N, features)
        return embeddings_TD[None], torch.arange(len(ids_T), device=device)[None], visual_N
