"""Qwen3-VL behind the model interface: timestamps as text, deepstack features that travel with their tokens.

Dense or a mixture of experts: only the feed-forward of the language model differs, which is stock code's business.

A visual token is one row of D merged features followed by D per deepstack layer, so that whatever keeps, moves or drops
tokens keeps them together.

Shape suffixes:
- F = frames, P = patches, N = visual tokens of a group, K = kept tokens, T = all tokens, D = hidden size
- E = D * (1 + deepstack)
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.adapter import Adapter
from pipeline.models.devices.transfer import upload
from pipeline.models.interface import RICH_OFFERS, Encoded, FinalTokens, FrameGeometry
from pipeline.models.prompt import render_around_video
from pipeline.models.qwen.deepstack import place_by_index
from pipeline.models.qwen.qwen3_layout import Qwen3Layout
from pipeline.models.qwen.qwen3_sequence import (
    VISION_END,
    VISION_START,
    block_texts,
    clip_centers,
    lay_out,
)
from pipeline.models.qwen.vision import QwenVision
from pipeline.models.video_sequence import VideoSequence, check_positions

VIDEO_TOKEN = "<|video_pad|>"


class Qwen3VL(Adapter[Qwen3Layout]):
    """Implements ``VideoModel``. One call at a time."""

    offers: ClassVar[frozenset[str]] = RICH_OFFERS

    layout_class: ClassVar[type[Qwen3Layout]] = Qwen3Layout

    def __init__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> None:
        super().__init__(
            model,
            tokenizer,
            self.layout_class.from_config(model.config),
            name=name,
            revision=revision,
            video_token=VIDEO_TOKEN,
            rope_axes=3,
        )
        self._vision = QwenVision(model.model.visual, self._layout.patches)
        if self._layout.feature_width > int(model.config.text_config.hidden_size):  # with deepstack
            place_by_index(model.model.language_model)
        self._before, self._video_id = read_prefix(tokenizer), int(model.config.video_token_id)

    @torch.inference_mode()
    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel``; ``(N, E)``."""
        outputs = self._vision.encode(frames_FHW3, geometry, batch_patches=batch_patches)
        return torch.cat([self._features_of(output) for output in outputs])

    def _features_of(self, output: Any) -> Tensor:
        """``(N, E)`` of one batch of the tower's."""
        return torch.cat([output.pooler_output, *output.deepstack_features], dim=-1)

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
            frames_FHW3, geometry, batch_patches=batch_patches, merge=self._features_of, saliency=saliency, tower=tower
        )

    def _lay_out_clip(
        self, num_patches: int, geometry: FrameGeometry, *, patch_s: float, center_s_P: npt.NDArray[np.float64] | None
    ) -> VideoSequence:
        """The group is an ordinary clip whose timestamps say when its patches are presented."""
        if center_s_P is None:
            center_s_P = clip_centers(num_patches, frames_per_patch=self.frames_per_patch, patch_s=patch_s)
        shape = num_patches, geometry.token_rows, geometry.token_columns
        patch_N, row_N, column_N = np.indices(shape).reshape(3, -1)
        return lay_out(
            self._tokenize(block_texts(self._before, center_s_P)),
            patch_N=patch_N,
            row_N=row_N,
            column_N=column_N,
            side=max(geometry.token_rows, geometry.token_columns),
            video_id=self._video_id,
        )

    def _lay_out_kept(self, tokens: FinalTokens, *, positions: str, patch_s: float) -> VideoSequence:
        """All values of ``positions`` hold at once.

        The text before a patch is its presentation time (``absolute``), and rotary positions, which do not tell time
        here, follow each other (``compact``).
        """
        check_positions(positions)
        center_s_K = tokens.time_s_K if tokens.center_s_K is None else tokens.center_s_K
        is_first_K = np.diff(tokens.patch_K, prepend=-1) != 0
        if tokens.geometry is None:
            side = int(max(tokens.row_K.max(), tokens.column_K.max())) + 1
        else:
            side = max(tokens.geometry.token_rows, tokens.geometry.token_columns)
        return lay_out(
            self._tokenize(block_texts(self._before, center_s_K[is_first_K])),
            patch_N=tokens.patch_K,
            row_N=tokens.row_K,
            column_N=tokens.column_K,
            side=side,
            video_id=self._video_id,
        )

    def _inputs_besides(self, sequence: VideoSequence, features_NE: Tensor, length: int) -> dict[str, Any]:
        """Deepstack features, and where they are added."""
        _, *deepstack = features_NE.view(len(features_NE), -1, self.similarity_dim).unbind(1)
        places_N = np.arange(length)[sequence.visual]
        return {"visual_pos_masks": upload(places_N, self.device)[None], "deepstack_visual_embeds": deepstack}

    def inputs_besides(self, sequence: VideoSequence, features_NE: Tensor, length: int) -> Mapping[str, Any]:
        """As stock code knows them: the places as a mask."""
        inputs = self._inputs_besides(sequence, features_NE, length)
        is_visual_T = np.zeros(length, dtype=bool)
        is_visual_T[sequence.visual] = True
        return inputs | {"visual_pos_masks": upload(is_visual_T, self.device)[None]}

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids


def read_prefix(tokenizer: Any) -> str:
    """The chat template's text before the video; its vision tokens go, because every temporal patch brings its own.

    So in the release of the family (transformers 4.57). Stock 5.10 to 5.23 leaves that outer pair standing around all
    blocks, which the checkpoints have not seen (vllm-project/vllm#46817); a test pins the difference.

    Raises:
        ValueError: If the template does not put the video between vision tokens.
    """
    before, after = render_around_video(tokenizer, video_token=VIDEO_TOKEN, question="", options=None)
    if not (before.endswith(VISION_START) and after.startswith(VISION_END)):
        raise ValueError(
            f"the chat template must put {VISION_START} and {VISION_END} around {VIDEO_TOKEN}, "
            f"got {before[-20:]!r} before and {after[:20]!r} after it; use the checkpoint's own template"
        )
    return before.removesuffix(VISION_START)
