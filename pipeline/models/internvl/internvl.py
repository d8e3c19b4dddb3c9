"""InternVL behind the model interface: the stock transformers class, one tile per frame, plain positions from 0.

The text model is whatever the checkpoint holds (Qwen2 in InternVL3, Qwen3 in InternVL3.5). Nothing but the order of the
tokens tells it of time.

Shape suffixes:
- F = frames, P = frames of a group, each a patch of its own, K = kept tokens
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.adapter import Adapter
from pipeline.models.devices.transfer import upload
from pipeline.models.interface import RICH_OFFERS, Encoded, FinalTokens, FrameGeometry
from pipeline.models.internvl.layout import InternVLLayout
from pipeline.models.internvl.preprocess import normalize_frames
from pipeline.models.internvl.prompt import VIDEO_TOKEN, build_frame_prompt, count_by_frame
from pipeline.models.internvl.tower_view import per_token, watch_tower
from pipeline.models.prompt import render_around_video
from pipeline.models.qwen.preprocess import resize_frames
from pipeline.models.video_sequence import IntArray, VideoSequence


class InternVL(Adapter[InternVLLayout]):
    """Implements ``VideoModel``. One call at a time."""

    offers: ClassVar[frozenset[str]] = RICH_OFFERS
    separators_per_patch: ClassVar[int] = 2  # <img> and </img>

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
    def encode_richly(
        self,
        frames_FHW3: Tensor | npt.NDArray[np.uint8],
        geometry: FrameGeometry,
        *,
        batch_patches: int,
        saliency: bool = False,
        tower: bool = False,
    ) -> Encoded:
        """See ``VideoModel``; saliency is what the class token pays."""
        side = self._layout.token_side
        with watch_tower(self._model.model.vision_tower) as view:
            features_ND = self.encode(frames_FHW3, geometry, batch_patches=batch_patches)
        received = [per_token(one[..., None], token_side=side)[:, 0] for one in view.saliency]
        before = [per_token(one[:, 1:], token_side=side) for one in view.hidden]
        return Encoded(
            features_ND=features_ND,
            saliency_N=torch.cat(received) if saliency else None,
            tower_NC=torch.cat(before) if tower else None,
        )

    def _lay_out_clip(
        self, num_patches: int, geometry: FrameGeometry, *, patch_s: float, center_s_P: npt.NDArray[np.float64] | None
    ) -> VideoSequence:
        """Frames are numbered within the group; times are not shown."""
        return self._show([geometry.tokens_per_patch] * num_patches)

    def _lay_out_kept(self, tokens: FinalTokens, *, positions: str, patch_s: float) -> VideoSequence:
        """Frames are numbered anew; see ``count_by_frame`` for what ``positions`` decides."""
        return self._show(
            count_by_frame(tokens.patch_K, positions=positions, tokens_per_frame=self._layout.tokens_per_frame)
        )

    def _with_separators(self, sequence: VideoSequence) -> IntArray:
        """``<img>`` and ``</img>`` stand right before and after the tokens of a frame."""
        assert isinstance(sequence.visual, np.ndarray)
        return np.unique(np.concatenate([sequence.visual - 1, sequence.visual, sequence.visual + 1]))

    def _show(self, tokens_by_frame: Sequence[int]) -> VideoSequence:
        return build_frame_prompt(self._tokenizer, self._before, tokens_by_frame=tokens_by_frame)


def read_prefix(tokenizer: Any) -> str:
    """The chat template's text before the frames.

    Raises:
        ValueError: As ``render_around_video``, or if the tokenizer lacks the family's frame tokens.
    """
    before, _ = render_around_video(tokenizer, video_token=VIDEO_TOKEN, question="", options=None)
    build_frame_prompt(tokenizer, before, tokens_by_frame=[1])
    return before
