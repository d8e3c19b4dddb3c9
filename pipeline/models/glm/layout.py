"""What a GLM-4.xV checkpoint's configuration alone says: frame sizes, layers, context. No weights needed."""

from dataclasses import dataclass
from typing import Any

from pipeline.models.interface import FrameGeometry
from pipeline.models.qwen.preprocess import PatchGeometry, fit_size


@dataclass(frozen=True, kw_only=True, slots=True)
class GlmLayout:
    """Implements ``ModelLayout``.

    Attributes:
        writes_start_times: the prompt tells when a patch's first frame is presented, not the mean of its frames.
    """

    frames_per_patch: int
    num_layers: int
    max_positions: int
    feature_width: int
    patches: PatchGeometry
    writes_start_times: bool = True

    @classmethod
    def from_config(cls, config: Any) -> "GlmLayout":
        """Read a ``Glm4vConfig``, a ``Glm4vMoeConfig`` or a ``Glm46VConfig``."""
        vision, text = config.vision_config, config.text_config
        return cls(
            frames_per_patch=int(vision.temporal_patch_size),
            num_layers=int(text.num_hidden_layers),
            max_positions=int(text.max_position_embeddings),
            feature_width=int(text.hidden_size),
            patches=PatchGeometry(
                patch_size=int(vision.patch_size),
                merge_size=int(vision.spatial_merge_size),
                temporal_patch_size=int(vision.temporal_patch_size),
            ),
        )

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """See ``ModelLayout``; sides are multiples of 28 pixels.

        The family's ``smart_resize``, whose limits are for a whole clip, with limits per frame: a side below 28 pixels
        is first brought up to it.
        """
        factor = self.patches.factor
        if 1 <= min(height, width) < factor:
            scale = factor / min(height, width)
            height, width = int(height * scale), int(width * scale)
        height, width = fit_size(height, width, geometry=self.patches, min_pixels=min_pixels, max_pixels=max_pixels)
        return FrameGeometry(height=height, width=width, token_rows=height // factor, token_columns=width // factor)
