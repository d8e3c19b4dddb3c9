"""LLaVA-OneVision behind the model interface: the stock transformers class, frames in a row, plain positions from 0.

After the last frame stands one learned vector, ``image_newline``. It belongs to the text around the video: a fixed
token of the prefix, of a group as of a final pass, which is neither ranked nor bought. Nothing but order tells of time.

Shape suffixes:
- F = frames, each a temporal patch of its own, N = visual tokens, E = D = hidden size, T = tokens of a row
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.adapter import Adapter
from pipeline.models.devices.transfer import upload
from pipeline.models.interface import FinalTokens, FrameGeometry
from pipeline.models.llava.layout import LlavaLayout
from pipeline.models.llava.preprocess import normalize_frames
from pipeline.models.prompt import build_prompt
from pipeline.models.qwen.preprocess import resize_frames
from pipeline.models.video_sequence import VideoSequence, check_positions

VIDEO_TOKEN = "<video>"


class LlavaOneVision(Adapter[LlavaLayout]):
    """Implements ``VideoModel``. One call at a time."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> None:
        layout = LlavaLayout.from_config(model.config)
        super().__init__(model, tokenizer, layout, name=name, revision=revision, video_token=VIDEO_TOKEN, rope_axes=1)
        self._prefix_ids, self._video_id = read_prefix(tokenizer), int(model.config.video_token_id)

    @torch.inference_mode()
    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel``; runs ``batch_patches`` frames at a time."""
        parts = []
        for start in range(0, len(frames_FHW3), batch_patches):
            frames = upload(frames_FHW3[start : start + batch_patches], self.device)
            frames = resize_frames(frames, height=geometry.height, width=geometry.width)
            pixels = normalize_frames(frames).to(self._text.dtype)
            parts.append(frame_features(self._model, pixels, geometry.tokens_per_patch))
        return torch.cat(parts)

    def _lay_out_clip(
        self, num_patches: int, geometry: FrameGeometry, *, patch_s: float, center_s_P: npt.NDArray[np.float64] | None
    ) -> VideoSequence:
        """Frames follow each other; times are not shown."""
        return self._show(num_patches * geometry.tokens_per_patch)

    def _lay_out_kept(self, tokens: FinalTokens, *, positions: str, patch_s: float) -> VideoSequence:
        """Kept tokens follow each other; positions tell of order alone, so all values mean the same."""
        check_positions(positions)
        return self._show(len(tokens.patch_K))

    def _show(self, num_visual: int) -> VideoSequence:
        start = len(self._prefix_ids)
        ids_T = np.append(self._prefix_ids, np.full(num_visual + 1, self._video_id))
        return VideoSequence(
            ids_T=ids_T,
            positions=np.arange(len(ids_T)),
            visual=slice(start, start + num_visual),
            next_position=len(ids_T),
        )

    def fill_in(self, sequence: VideoSequence, embeddings_TD: Tensor) -> None:
        """``image_newline`` after the last frame."""
        embeddings_TD[len(sequence.ids_T) - 1] = self._model.model.image_newline


def frame_features(model: Any, pixels_FCHW: Tensor, tokens_per_frame: int) -> Tensor:
    """``(N, D)`` by the stock model: frames as one video, without the line break that late versions put after them."""
    pooled_1ND: Tensor = model.model.get_video_features(pixels_FCHW[None]).pooler_output
    return pooled_1ND[0, : len(pixels_FCHW) * tokens_per_frame]


def read_prefix(tokenizer: Any) -> tuple[int, ...]:
    """Token ids before the video."""
    return build_prompt(tokenizer, video_token=VIDEO_TOKEN, question="", options=None).prefix_ids
