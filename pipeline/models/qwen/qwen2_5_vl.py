"""Qwen2.5-VL behind the model interface: the stock transformers class, explicit positions, one shared prefix per group.

Shape suffixes:
- F = frames, N = visual tokens of a group, K = kept tokens, D = hidden size
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
from pipeline.models.prompt import build_prompt
from pipeline.models.qwen.layout import QwenLayout
from pipeline.models.qwen.positions import clip_positions, kept_positions
from pipeline.models.qwen.vision import QwenVision
from pipeline.models.shared_prefix import SharedPrefix
from pipeline.settings.config import ScoringConfig

VIDEO_TOKEN = "<|video_pad|>"


class Qwen25VL(Adapter[QwenLayout]):
    """Implements ``VideoModel``. One call at a time."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> None:
        layout = QwenLayout.from_config(model.config)
        super().__init__(model, tokenizer, layout, name=name, revision=revision, video_token=VIDEO_TOKEN, rope_axes=3)
        self._vision = QwenVision(model.model.visual, layout.patches)
        self._prefix_ids = read_prefix(tokenizer)

    @torch.inference_mode()
    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel``."""
        outputs = self._vision.encode(frames_FHW3, geometry, batch_patches=batch_patches)
        return torch.cat([output.pooler_output for output in outputs])

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
        embeddings_TD, positions_3T = self._join(features_ND, visual_3N, ())
        cache = self._text.new_cache()
        self._text.run(embeddings_TD, positions_3T, cache=cache)
        return SharedPrefix.of_cache(
            cache,
            visual=slice(len(self._prefix_ids), len(embeddings_TD)),
            length=len(embeddings_TD),
            next_position=int(visual_3N.max()) + 1,
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
        embeddings_TD, positions_3T = self._join(tokens.features_KD, visual_3K, prompt.suffix_ids)
        return run_final_pass(
            self._text,
            embeddings_TD,
            positions_3T,
            replace(prompt, max_tokens=max_tokens),
            config,
            visual=slice(start, start + len(tokens.features_KD)),
            next_position=int(visual_3K.max()) + 1 + len(prompt.suffix_ids),
        )

    def _join(
        self, features_ND: Tensor, visual_3N: npt.NDArray[np.int64], suffix: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Embeddings ``(T, D)`` and positions ``(3, T)`` of prefix text, visual tokens and suffix text."""
        text, num_before = self._text, len(self._prefix_ids)
        embeddings_TD = text.embed(upload(np.array([*self._prefix_ids, *suffix], dtype=np.int64), text.device))
        features_ND = features_ND.to(device=text.device, dtype=text.dtype)
        text_start = int(visual_3N.max()) + 1
        positions_3T = np.concatenate(
            [
                np.tile(np.arange(num_before), (3, 1)),
                visual_3N,
                np.tile(np.arange(text_start, text_start + len(suffix)), (3, 1)),
            ],
            axis=1,
        )
        embeddings_TD = torch.cat([embeddings_TD[:num_before], features_ND, embeddings_TD[num_before:]])
        return embeddings_TD, upload(positions_3T, text.device)


def read_prefix(tokenizer: Any) -> tuple[int, ...]:
    """Token ids before the video."""
    return build_prompt(tokenizer, video_token=VIDEO_TOKEN, question="", options=None).prefix_ids
