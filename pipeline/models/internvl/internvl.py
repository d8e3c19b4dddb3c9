"""InternVL behind the model interface: the stock transformers class, one tile per frame, plain positions from 0.

The text model is whatever the checkpoint holds (Qwen2 in InternVL3, Qwen3 in InternVL3.5). Nothing but the order of the
tokens tells it of time.

Shape suffixes:
- F = frames, N = visual tokens of a group, K = kept tokens, T = whole sequence, D = hidden size
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.adapter import Adapter
from pipeline.models.devices.transfer import upload
from pipeline.models.final_pass import run_final_pass
from pipeline.models.interface import FinalTokens, FrameGeometry, QuestionPrompt, Response
from pipeline.models.internvl.layout import InternVLLayout
from pipeline.models.internvl.preprocess import normalize_frames
from pipeline.models.internvl.prompt import VIDEO_TOKEN, FramePrompt, build_frame_prompt, count_by_frame
from pipeline.models.prompt import render_around_video
from pipeline.models.qwen.preprocess import resize_frames
from pipeline.models.shared_prefix import SharedPrefix
from pipeline.settings.config import ScoringConfig


class InternVL(Adapter[InternVLLayout]):
    """Implements ``VideoModel``. One call at a time."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> None:
        layout = InternVLLayout.from_config(model.config)
        super().__init__(model, tokenizer, layout, name=name, revision=revision, video_token=VIDEO_TOKEN, rope_axes=1)
        self._before = read_prefix(tokenizer)

    @torch.inference_mode()
    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel``; runs ``batch_patches`` frames at a time, each as one tile."""
        parts = []
        for start in range(0, len(frames_FHW3), batch_patches):
            frames = upload(frames_FHW3[start : start + batch_patches], self.device)
            frames = resize_frames(frames, height=geometry.height, width=geometry.width)
            pixels = normalize_frames(frames).to(self._text.dtype)
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
        embeddings_TD, visual_N = self._join(prompt, features_ND, ())
        cache, length = self._text.new_cache(), len(embeddings_TD)
        self._text.run(embeddings_TD, torch.arange(length, device=self.device), cache=cache)
        return SharedPrefix.of_cache(cache, visual=visual_N, length=length, next_position=length)

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
        embeddings_TD, visual_K = self._join(frames, tokens.features_KD, prompt.suffix_ids)
        return run_final_pass(
            self._text,
            embeddings_TD,
            torch.arange(len(embeddings_TD), device=self.device),
            replace(prompt, max_tokens=max_tokens),
            config,
            visual=visual_K,
            next_position=len(embeddings_TD),
        )

    def _show(self, tokens_by_frame: Sequence[int]) -> FramePrompt:
        return build_frame_prompt(self._tokenizer, self._before, tokens_by_frame=tokens_by_frame)

    def _join(self, prompt: FramePrompt, features_ND: Tensor, suffix: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Embeddings ``(T, D)``, and places ``(N,)`` of the visual tokens."""
        ids_T = np.append(prompt.ids_T, np.array(suffix, dtype=np.int64))
        visual_N = upload(prompt.visual_N, self.device)
        features = features_ND.to(device=self.device, dtype=self._text.dtype)
        return self._text.embed(upload(ids_T, self.device)).index_copy(0, visual_N, features), visual_N


def read_prefix(tokenizer: Any) -> str:
    """The chat template's text before the frames.

    Raises:
        ValueError: As ``render_around_video``, or if the tokenizer lacks the family's frame tokens.
    """
    before, _ = render_around_video(tokenizer, video_token=VIDEO_TOKEN, question="", options=None)
    build_frame_prompt(tokenizer, before, tokens_by_frame=[1])
    return before
