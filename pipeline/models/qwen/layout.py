"""What a Qwen2.5-VL checkpoint's configuration alone says: frame sizes, layers, context. No weights needed."""

from dataclasses import dataclass
from typing import Any

from pipeline.models.interface import FrameGeometry
from pipeline.models.qwen.preprocess import PatchGeometry, fit_size


@dataclass(frozen=True, kw_only=True, slots=True)
class QwenLayout:
    """Implements ``ModelLayout``."""

    frames_per_patch: int
    num_layers: int
    max_positions: int
    feature_width: int
    tokens_per_second: float
    patches: PatchGeometry

    @classmethod
    def from_config(cls, config: Any) -> "QwenLayout":
        """Read a ``Qwen2_5_VLConfig``."""
        vision, text = config.vision_config, config.text_config
        return cls(
            frames_per_patch=int(vision.temporal_patch_size),
            num_layers=int(text.num_hidden_layers),
            max_positions=int(text.max_position_embeddings),
            feature_width=int(text.hidden_size),
            tokens_per_second=float(vision.tokens_per_second),
            patches=PatchGeometry(
                patch_size=int(vision.patch_size),
                merge_size=int(vision.spatial_merge_size),
                temporal_patch_size=int(vision.temporal_patch_size),
            ),
        )

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """See ``ModelLayout``; sides are multiples of 28 pixels."""
        height, width = fit_size(height, width, geometry=self.patches, min_pixels=min_pixels, max_pixels=max_pixels)
        factor = self.patches.factor
        return FrameGeometry(height=height, width=width, token_rows=height // factor, token_columns=width // factor)
