"""What a Qwen3-VL or Qwen3.5 checkpoint's configuration alone says: frame sizes, layers, context. No weights needed."""

from dataclasses import dataclass
from typing import Any, Self

from pipeline.models.interface import FrameGeometry
from pipeline.models.qwen.preprocess import PatchGeometry, fit_size

_HALF = (0.5, 0.5, 0.5)  # mean and deviation of all three colours, in the family's processors


@dataclass(frozen=True, kw_only=True, slots=True)
class Qwen3Layout:
    """Implements ``ModelLayout``."""

    frames_per_patch: int
    num_layers: int
    max_positions: int
    feature_width: int
    patches: PatchGeometry

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Read a ``Qwen3VLConfig`` or a ``Qwen3VLMoeConfig``."""
        return cls(**cls._read(config))

    @staticmethod
    def _read(config: Any) -> dict[str, Any]:
        vision, text = config.vision_config, config.text_config
        return dict(
            frames_per_patch=int(vision.temporal_patch_size),
            num_layers=int(text.num_hidden_layers),
            max_positions=int(text.max_position_embeddings),
            feature_width=int(text.hidden_size) * (1 + len(getattr(vision, "deepstack_visual_indexes", ()))),
            patches=PatchGeometry(
                patch_size=int(vision.patch_size),
                merge_size=int(vision.spatial_merge_size),
                temporal_patch_size=int(vision.temporal_patch_size),
                mean=_HALF,
                std=_HALF,
            ),
        )

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """See ``ModelLayout``; sides are multiples of 32 pixels.

        The family's video ``smart_resize``, whose limits are for a whole clip, with limits per frame: a side below 32
        pixels is first brought up to it.
        """
        factor = self.patches.factor
        if 1 <= min(height, width) < factor:
            scale = factor / min(height, width)
            height, width = int(height * scale), int(width * scale)
        height, width = fit_size(height, width, geometry=self.patches, min_pixels=min_pixels, max_pixels=max_pixels)
        return FrameGeometry(height=height, width=width, token_rows=height // factor, token_columns=width // factor)


@dataclass(frozen=True, kw_only=True, slots=True)
class Qwen35Layout(Qwen3Layout):
    """Of Qwen3.5: implements ``RanksAtSomeLayers``, for linear attention has no keys to rank tokens by."""

    ranking_layers: tuple[int, ...]

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Read a ``Qwen3_5Config`` or a ``Qwen3_5MoeConfig``.

        Raises:
            ValueError: If no layer has full attention.
        """
        kinds = config.text_config.layer_types
        ranking = tuple(layer for layer, kind in enumerate(kinds) if kind == "full_attention")
        if not ranking:
            raise ValueError("none of its layers has full attention, which ranks tokens")
        return cls(**cls._read(config), ranking_layers=ranking)
