"""Qwen2.5-VL behind the model interface: the stock transformers class, explicit positions, one shared prefix per group.

Shape suffixes:
- F = frames, P = patches, N = visual tokens of a group, K = kept tokens, 3 = temporal, row, column
"""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.adapter import Adapter
from pipeline.models.interface import RICH_OFFERS, Encoded, FinalTokens, FrameGeometry
from pipeline.models.prompt import build_prompt
from pipeline.models.qwen.layout import QwenLayout
from pipeline.models.qwen.positions import clip_end, clip_positions, kept_positions
from pipeline.models.qwen.vision import QwenVision
from pipeline.models.video_sequence import VideoSequence

VIDEO_TOKEN = "<|video_pad|>"


class Qwen25VL(Adapter[QwenLayout]):
    """Implements ``VideoModel``. One call at a time."""

    offers: ClassVar[frozenset[str]] = RICH_OFFERS

    def __init__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> None:
        layout = QwenLayout.from_config(model.config)
        super().__init__(model, tokenizer, layout, name=name, revision=revision, video_token=VIDEO_TOKEN, rope_axes=3)
        self._vision = QwenVision(model.model.visual, layout.patches)
        self._prefix_ids, self._video_id = read_prefix(tokenizer), int(model.config.video_token_id)

    @torch.inference_mode()
    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel``."""
        outputs = self._vision.encode(frames_FHW3, geometry, batch_patches=batch_patches)
        return torch.cat([output.pooler_output for output in outputs])

    @torch.inference_mode()
    def encode_richly(
        self,
        frames_FHW3: Tensor | npt.NDArray[np.uint8],
        geometry: FrameGeometry,
        *,
        batch_patches: int,
        saliency: bool = False,
        tower: bool = False,
    ) -> Encoded:
        """See ``VideoModel``."""
        return self._vision.encode_richly(
            frames_FHW3,
            geometry,
            batch_patches=batch_patches,
            merge=lambda output: output.pooler_output,
            saliency=saliency,
            tower=tower,
        )

    def _lay_out_clip(
        self, num_patches: int, geometry: FrameGeometry, *, patch_s: float, center_s_P: npt.NDArray[np.float64] | None
    ) -> VideoSequence:
        """The group is an ordinary clip to the model, whatever lies between its patches."""
        visual_3N = clip_positions(
            num_patches=num_patches,
            token_rows=geometry.token_rows,
            token_columns=geometry.token_columns,
            start=len(self._prefix_ids),
            patch_s=patch_s,
            tokens_per_second=self._layout.tokens_per_second,
        )
        return self._after_prefix(visual_3N)

    def _lay_out_kept(self, tokens: FinalTokens, *, positions: str, patch_s: float) -> VideoSequence:
        """See ``kept_positions`` for what ``positions`` decides."""
        visual_3K = kept_positions(
            patch_N=tokens.patch_K,
            time_s_N=tokens.time_s_K,
            row_N=tokens.row_K,
            column_N=tokens.column_K,
            start=len(self._prefix_ids),
            positions=positions,
            patch_s=patch_s,
            tokens_per_second=self._layout.tokens_per_second,
        )
        sequence = self._after_prefix(visual_3K)
        if positions != "patch-index" or tokens.geometry is None:
            return sequence
        end = clip_end(
            num_patches=tokens.num_patches or int(tokens.patch_K.max()) + 1,
            token_rows=tokens.geometry.token_rows,
            token_columns=tokens.geometry.token_columns,
            start=len(self._prefix_ids),
            patch_s=patch_s,
            tokens_per_second=self._layout.tokens_per_second,
        )
        return replace(sequence, next_position=end)

    def _after_prefix(self, visual_3N: npt.NDArray[np.int64]) -> VideoSequence:
        """Nothing but visual tokens, at these positions, after the prefix text."""
        num_before, num_visual = len(self._prefix_ids), visual_3N.shape[1]
        return VideoSequence(
            ids_T=np.append(self._prefix_ids, np.full(num_visual, self._video_id)),
            positions=np.concatenate([np.tile(np.arange(num_before), (3, 1)), visual_3N], axis=1),
            visual=slice(num_before, num_before + num_visual),
            next_position=int(visual_3N.max()) + 1,
        )


def read_prefix(tokenizer: Any) -> tuple[int, ...]:
    """Token ids before the video."""
    return build_prompt(tokenizer, video_token=VIDEO_TOKEN, question="", options=None).prefix_ids
