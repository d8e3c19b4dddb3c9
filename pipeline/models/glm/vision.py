"""Frames through a GLM-4.xV vision tower in fixed batches: full attention within each temporal patch."""

from typing import Any

import torch

from pipeline.models.devices.transfer import upload
from pipeline.models.qwen.vision import QwenVision


class GlmVision(QwenVision):
    """As Qwen's, for a tower that looks up the size of every temporal patch where its own positions are."""

    def _build_plan(self, num_patches: int, token_rows: int, token_columns: int) -> dict[str, Any]:
        """Each temporal patch is a picture of its own to the tower, as in stock ``get_video_features``."""
        known, merge = super()._build_plan(num_patches, token_rows, token_columns), self._patches.merge_size
        grid_thw = torch.tensor([[1, token_rows * merge, token_columns * merge]]).repeat(num_patches, 1)
        return known | {"grid_thw": upload(grid_thw, self._tower.device)}
