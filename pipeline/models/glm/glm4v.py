"""GLM-4.xV behind the model interface: the stock transformers classes, timestamps as text, asked without thinking.

Dense (GLM-4.6V-Flash) or a mixture of experts (GLM-4.5V, 4.6V): only the language model differs, which is stock code's
business.

Shape suffixes:
- F = frames, P = temporal patches, N = visual tokens of a group, K = kept tokens, D = hidden size
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.adapter import Adapter
from pipeline.models.glm.layout import GlmLayout
from pipeline.models.glm.prompt import ANSWER_MARKS, VIDEO_TOKEN, append_text, block_texts, read_prefix, time_writer
from pipeline.models.glm.vision import GlmVision
from pipeline.models.interface import FinalTokens, FrameGeometry
from pipeline.models.qwen.qwen3_sequence import lay_out
from pipeline.models.video_sequence import IntArray, VideoSequence, check_positions


class Glm4V(Adapter[GlmLayout]):
    """Implements ``VideoModel``. One call at a time."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, revision: str) -> None:
        layout = GlmLayout.from_config(model.config)
        super().__init__(
            model,
            tokenizer,
            layout,
            name=name,
            revision=revision,
            video_token=VIDEO_TOKEN,
            rope_axes=3,
            answer_marks=ANSWER_MARKS,
        )
        self._vision = GlmVision(model.model.visual, layout.patches)
        self._before, self._image_id = read_prefix(tokenizer), int(model.config.image_token_id)
        self._write_time = time_writer(tokenizer)

    @torch.inference_mode()
    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel``; ``(N, D)``."""
        outputs = self._vision.encode(frames_FHW3, geometry, batch_patches=batch_patches)
        return torch.cat([output.pooler_output for output in outputs])

    def _lay_out_clip(
        self, num_patches: int, geometry: FrameGeometry, *, patch_s: float, center_s_P: npt.NDArray[np.float64] | None
    ) -> VideoSequence:
        """The group is an ordinary clip whose timestamps say when its patches are presented."""
        shape = num_patches, geometry.token_rows, geometry.token_columns
        patch_N, row_N, column_N = np.indices(shape).reshape(3, -1)
        if center_s_P is None:
            center_s_P = np.asarray(np.arange(num_patches) * patch_s, dtype=np.float64)
        return self._show(center_s_P, patch_N, row_N, column_N, side=max(shape[1:]))

    def _lay_out_kept(self, tokens: FinalTokens, *, positions: str, patch_s: float) -> VideoSequence:
        """All values of ``positions`` hold at once: times stand in the text, and rotary positions run on."""
        check_positions(positions)
        times_s_K = tokens.time_s_K if tokens.center_s_K is None else tokens.center_s_K
        is_first_K = np.diff(tokens.patch_K, prepend=-1) != 0
        if tokens.geometry is None:
            side = int(max(tokens.row_K.max(), tokens.column_K.max())) + 1
        else:
            side = max(tokens.geometry.token_rows, tokens.geometry.token_columns)
        return self._show(times_s_K[is_first_K], tokens.patch_K, tokens.row_K, tokens.column_K, side=side)

    def _show(
        self, times_s_P: npt.NDArray[np.float64], patch_N: IntArray, row_N: IntArray, column_N: IntArray, *, side: int
    ) -> VideoSequence:
        """Patches between their texts, with positions as in stock ``get_rope_index``."""
        texts = block_texts(self._before, times_s_P, self._write_time)
        *text_ids_P, last_ids = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        blocks = lay_out(
            text_ids_P, patch_N=patch_N, row_N=row_N, column_N=column_N, side=side, video_id=self._image_id
        )
        return append_text(blocks, last_ids)
