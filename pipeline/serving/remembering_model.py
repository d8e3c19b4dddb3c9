"""A model that does not encode and prefill a group twice: both are the same for every question about a video."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pipeline.models.interface import FrameGeometry, VideoModel
from pipeline.serving.room import Room, tensor_bytes


@dataclass(kw_only=True, slots=True, eq=False)
class _Known:
    features_ND: Tensor
    prefix: Any = None


class RememberingModel:
    """The model itself but for ``encode`` and ``prefill`` of the group at ``position``, for one planned video.

    A position's frames must be the same whenever it is set. What a selector's rule wants besides (``encode_richly``) is
    computed each time.
    """

    def __init__(self, model: VideoModel, room: Room, holder: str) -> None:
        self.position = 0
        self._model, self._room, self._holder = model, room, holder
        self._known: dict[int, _Known] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    @property
    def num_prefixes(self) -> int:
        """Groups of which a further question needs scoring only."""
        return sum(known.prefix is not None for known in self._known.values())

    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel.encode``."""
        known = self._known.get(self.position)
        if known is not None:
            return known.features_ND
        features_ND = self._model.encode(frames_FHW3, geometry, batch_patches=batch_patches)
        if self._room.take(self._holder, tensor_bytes(features_ND)):
            self._known[self.position] = _Known(features_ND=features_ND)
        return features_ND

    def prefill(self, features_ND: Tensor, geometry: FrameGeometry, **more: Any) -> Any:
        """See ``VideoModel.prefill``; one that is kept belongs to the very features that are kept."""
        known = self._known.get(self.position)
        is_own = known is not None and known.features_ND is features_ND
        if is_own and known is not None and known.prefix is not None:
            return known.prefix
        prefix = self._model.prefill(features_ND, geometry, **more)
        if is_own and known is not None and self._room.take(self._holder, tensor_bytes(prefix)):
            known.prefix = prefix
        return prefix

    def forget(self) -> None:
        """Keep nothing."""
        self._known.clear()
