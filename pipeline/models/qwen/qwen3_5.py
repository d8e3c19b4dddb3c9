"""Qwen3.5 behind the model interface, dense or of experts: frames and times as in Qwen3-VL, mostly linear attention.

No deepstack: a visual token is its merged features alone. The chat template thinks by default; its documented switch
``enable_thinking=False`` puts an empty think block before the answer.
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.fast_paths import FastPaths
from pipeline.models.interface import FrameGeometry
from pipeline.models.qwen.qwen3_layout import Qwen3Layout, Qwen35Layout
from pipeline.models.qwen.qwen3_vl import Qwen3VL
from pipeline.models.recurrent_prefix import RecurrentPrefixScorer
from pipeline.models.shared_prefix import PrefixScorer
from pipeline.models.text_model import TextModel
from pipeline.models.video_sequence import VideoSequence


class Qwen35(Qwen3VL):
    """Implements ``VideoModel``. One call at a time."""

    layout_class: ClassVar[type[Qwen3Layout]] = Qwen35Layout

    @torch.inference_mode()
    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel``."""
        outputs = self._vision.encode(frames_FHW3, geometry, batch_patches=batch_patches)
        return torch.cat([output.pooler_output for output in outputs])

    def _make_scorer(self, text: TextModel, paths: FastPaths) -> PrefixScorer:
        """Every question from a copy of the recurrent states, which knows one way only."""
        return RecurrentPrefixScorer(text)

    def _inputs_besides(self, sequence: VideoSequence, features_NE: Tensor, length: int) -> dict[str, Any]:
        """Nothing."""
        return {}

    def inputs_besides(self, sequence: VideoSequence, features_NE: Tensor, length: int) -> dict[str, Any]:
        """Nothing."""
        return {}
