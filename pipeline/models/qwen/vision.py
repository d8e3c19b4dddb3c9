"""Frames through a Qwen vision tower in fixed batches; what depends on shapes only is computed once per shape.

Shape suffixes: F = frames
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import vision_utils

from pipeline.models.devices.transfer import upload
from pipeline.models.interface import Encoded, FrameGeometry
from pipeline.models.qwen.preprocess import PatchGeometry, flatten_patches, resize_frames
from pipeline.models.qwen.tower_view import ReceivedAttention, per_token, watch_last_block
from pipeline.models.qwen.vision_windows import plan_frames, plan_windows
from pipeline.models.qwen.window_attention import WINDOW_ATTENTION


class QwenVision:
    """The tower of one checkpoint.

    Args:
        tower: stock vision model of Qwen2.5-VL or Qwen3-VL.
        patches: how frames are cut.
    """

    def __init__(self, tower: Any, patches: PatchGeometry) -> None:
        self._tower, self._patches = tower, patches
        self._plan = lru_cache(maxsize=8)(self._build_plan)  # a full batch and what is left, of a few frame sizes

    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Iterator[Any]:
        """The tower's output for ``batch_patches`` temporal patches at a time."""
        step = batch_patches * self._patches.temporal_patch_size
        for start in range(0, len(frames_FHW3), step):
            frames = upload(frames_FHW3[start : start + step], self._tower.device)
            frames = resize_frames(frames, height=geometry.height, width=geometry.width)
            pixels = flatten_patches(frames, geometry=self._patches).to(self._tower.dtype)
            num_patches = len(frames) // self._patches.temporal_patch_size
            yield self._tower(pixels, **self._plan(num_patches, geometry.token_rows, geometry.token_columns))

    def encode_richly(
        self,
        frames_FHW3: Tensor | npt.NDArray[np.uint8],
        geometry: FrameGeometry,
        *,
        batch_patches: int,
        merge: Callable[[Any], Tensor],
        saliency: bool,
        tower: bool,
    ) -> Encoded:
        """Features as ``merge`` takes them from an output, and what else is wanted; see ``VideoModel``."""
        unit, per_patch = self._patches.merge_size**2, geometry.tokens_per_patch
        features, received, before = list[Tensor](), list[Tensor](), list[Tensor]()
        with watch_last_block(self._tower) if saliency else nullcontext(ReceivedAttention()) as seen:
            for output in self.encode(frames_FHW3, geometry, batch_patches=batch_patches):
                features.append(merge(output))
                order_U = self._order(len(features[-1]) // per_patch, geometry)
                if saliency:
                    received.append(per_token(seen.batches.pop(), unit=unit, order_U=order_U))
                if tower:
                    before.append(per_token(output.last_hidden_state, unit=unit, order_U=order_U))
        return Encoded(
            features_ND=torch.cat(features),
            saliency_N=torch.cat(received) if saliency else None,
            tower_NC=torch.cat(before) if tower else None,
        )

    def _order(self, num_patches: int, geometry: FrameGeometry) -> Tensor | None:
        """Which token stands where in a batch; None: in order."""
        if not hasattr(self._tower, "window_size"):
            return None
        plan, merge = self._plan(num_patches, geometry.token_rows, geometry.token_columns), self._patches.merge_size
        if "window_index" in plan:
            return plan["window_index"]  # type: ignore[no-any-return]
        order_U, _ = vision_utils.get_vision_window_index(
            plan["grid_thw"].cpu(),
            spatial_merge_size=merge,
            window_size=self._tower.window_size,
            patch_size=self._patches.patch_size,
        )
        return order_U  # type: ignore[no-any-return]

    def _build_plan(self, num_patches: int, token_rows: int, token_columns: int) -> dict[str, Any]:
        """Arguments of the tower that it would else compute from ``grid_thw``, reading the device for it."""
        device, merge = self._tower.device, self._patches.merge_size
        grid_thw = torch.tensor([[num_patches, token_rows * merge, token_columns * merge]])
        is_hooked = hasattr(self._tower, "_hf_hook")  # then accelerate would move it in every call, and wait for it
        known: dict[str, Any] = {
            "grid_thw": upload(grid_thw, device) if is_hooked else grid_thw,
            "position_ids": upload(vision_utils.get_vision_position_ids(grid_thw, merge), device),
        }
        if hasattr(self._tower, "pos_embed"):
            known |= self._interpolation(grid_thw)
        implementation, length = self._tower.config._attn_implementation, token_rows * token_columns * merge**2
        if "flash" not in implementation:
            return known  # stock code loops over the pieces, on the host
        frames = plan_frames(num_patches, length=length, device=device)
        known |= {"cu_seqlens": frames.bounds, "max_seqlen": length}
        if implementation != WINDOW_ATTENTION:
            return known | self._stock_windows(grid_thw)
        if not hasattr(self._tower, "window_size"):
            return known | {"segments": (frames,)}
        order, windows, frames = plan_windows(
            num_patches,
            token_rows=token_rows,
            token_columns=token_columns,
            window_tokens=self._tower.window_size // merge // self._patches.patch_size,
            unit=merge**2,
            device=device,
        )
        return known | {
            "cu_seqlens": frames.bounds,
            "window_index": order,
            "cu_window_seqlens": windows.bounds,
            "max_window_seqlen": max(size for _, size in windows.runs),
            "segments": (windows, frames),
        }

    def _stock_windows(self, grid_thw: Tensor) -> dict[str, Any]:
        """Windows frame by frame, so that whole frames lie in one piece too, as flash-attn needs them.

        Its kernel reads bounds where the queries are; stock code leaves them where ``grid_thw`` is, on the host.
        """
        device, tower = self._tower.device, self._tower
        if not hasattr(tower, "window_size"):
            return {}
        order, bounds = vision_utils.get_vision_window_index(
            grid_thw,
            spatial_merge_size=self._patches.merge_size,
            window_size=tower.window_size,
            patch_size=self._patches.patch_size,
        )
        return {
            "window_index": upload(order, device),
            "cu_window_seqlens": upload(bounds, device),
            "max_window_seqlen": int(bounds.diff().max()),
        }

    def _interpolation(self, grid_thw: Tensor) -> dict[str, Tensor]:
        """Qwen3-VL's learned position table, resampled to the grid."""
        indices, weights = vision_utils.get_vision_interpolation_indices_and_weights(
            grid_thw,
            num_grid_per_side=self._tower.num_grid_per_side,
            mode=self._tower.interpolation_mode,
            align_corners=self._tower.interpolation_align_corners,
            spatial_merge_size=self._patches.merge_size,
        )
        device = self._tower.device
        return {"interp_indices": upload(indices, device), "interp_weights": upload(weights, device)}
