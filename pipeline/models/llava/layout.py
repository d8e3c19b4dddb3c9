"""What a LLaVA-OneVision checkpoint's configuration alone says: frame size, tokens per frame, layers."""

from dataclasses import dataclass
from typing import Any

from pipeline.models.interface import FrameGeometry

_POOLED = 2  # a video frame's patches are averaged two by two


@dataclass(frozen=True, kw_only=True, slots=True)
class LlavaLayout:
    """Implements ``ModelLayout``. Every frame is one square of ``image_size`` pixels and ``token_side`` squared tokens.

    Example: 384 pixels, patches of 14 -> 27 x 27 patches, pooled two by two -> 14 x 14 = 196 tokens per frame.
    """

    num_layers: int
    max_positions: int
    feature_width: int
    image_size: int
    token_side: int
    frames_per_patch: int = 1

    @classmethod
    def from_config(cls, config: Any) -> "LlavaLayout":
        """Read a ``LlavaOnevisionConfig``.

        Raises:
            ValueError: If the tower's features are not one per patch; the family's own pooling needs that.
        """
        vision, text = config.vision_config, config.text_config
        if config.vision_feature_select_strategy != "full":
            raise ValueError(
                "vision_feature_select_strategy must be 'full', one feature per patch, got "
                f"{config.vision_feature_select_strategy!r}; published checkpoints have 'full'"
            )
        return cls(
            num_layers=int(text.num_hidden_layers),
            max_positions=int(text.max_position_embeddings),
            feature_width=int(text.hidden_size),
            image_size=int(vision.image_size),
            token_side=-(-(int(vision.image_size) // int(vision.patch_size)) // _POOLED),
        )

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """See ``ModelLayout``; the trained square whatever a video's shape, so both pixel limits have no say here.

        Raises:
            ValueError: If a side has no pixel.
        """
        if min(height, width) < 1:
            raise ValueError(f"frame sides must be at least 1 pixel, got {height} x {width} pixels")
        return FrameGeometry(
            height=self.image_size, width=self.image_size, token_rows=self.token_side, token_columns=self.token_side
        )
