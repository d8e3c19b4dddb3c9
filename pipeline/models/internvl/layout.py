"""What an InternVL checkpoint's configuration alone says: frame size, tokens per frame, layers. No weights needed."""

from dataclasses import dataclass
from typing import Any

from pipeline.models.interface import FrameGeometry


@dataclass(frozen=True, kw_only=True, slots=True)
class InternVLLayout:
    """Implements ``ModelLayout``. Every frame is one square of ``image_size`` pixels and ``token_side`` squared tokens.

    Example: 448 pixels, patches of 14, downsampled by 0.5 -> 16 x 16 = 256 tokens per frame.
    """

    num_layers: int
    max_positions: int
    feature_width: int
    image_size: int
    token_side: int
    frames_per_patch: int = 1

    @classmethod
    def from_config(cls, config: Any) -> "InternVLLayout":
        """Read an ``InternVLConfig``.

        Raises:
            ValueError: If frames or patches are not square, or patches do not fill whole tokens; the family's own
                pixel shuffle needs that.
        """
        vision, text = config.vision_config, config.text_config
        (height, width), (patch, patch_width) = vision.image_size, vision.patch_size
        token_pixels = round(patch / config.downsample_ratio)
        if height != width or patch != patch_width or height % token_pixels:
            raise ValueError(
                f"vision_config.image_size must be a square of whole tokens of {token_pixels} pixels, got "
                f"{height} x {width} with patches of {patch} x {patch_width}; published checkpoints have 448 x 448"
            )
        return cls(
            num_layers=int(text.num_hidden_layers),
            max_positions=int(text.max_position_embeddings),
            feature_width=int(text.hidden_size),
            image_size=int(height),
            token_side=height // token_pixels,
        )

    @property
    def tokens_per_frame(self) -> int:
        """Visual tokens of one frame."""
        return self.token_side**2

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
