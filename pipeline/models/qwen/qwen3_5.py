"""Qwen3.5 behind the model interface, dense or of experts: frames and times as in Qwen3-VL, mostly linear attention.

No deepstack: a visual token is its merged features alone. The chat template thinks by default; its documented switch
``enable_thinking=False`` puts an empty think block before the answer.
"""

from typing import Any, ClassVar

from torch import Tensor

from pipeline.models.fast_paths import FastPaths
from pipeline.models.qwen.qwen3_layout import Qwen3Layout, Qwen35Layout
from pipeline.models.qwen.qwen3_vl import Qwen3VL
from pipeline.models.recurrent_prefix import RecurrentPrefixScorer
from pipeline.models.shared_prefix import PrefixScorer
from pipeline.models.text_model import TextModel
from pipeline.models.video_sequence import VideoSequence


class Qwen35(Qwen3VL):
    """Implements ``VideoModel``. One call at a time."""

    layout_class: ClassVar[type[Qwen3Layout]] = Qwen35Layout

    def _features_of(self, output: Any) -> Tensor:
        """Merged features alone."""
        return output.pooler_output  # type: ignore[no-any-return]

    def _make_scorer(self, text: TextModel, paths: FastPaths) -> PrefixScorer:
        """Every question from a copy of the recurrent states, which knows one way only."""
        return RecurrentPrefixScorer(text)

    def _inputs_besides(self, sequence: VideoSequence, features_NE: Tensor, length: int) -> dict[str, Any]:
        """Nothing."""
        return {}

    def inputs_besides(self, sequence: VideoSequence, features_NE: Tensor, length: int) -> dict[str, Any]:
        """Nothing."""
        return {}
