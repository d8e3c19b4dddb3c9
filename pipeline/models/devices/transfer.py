"""Copies between host and device that keep the host free: pinned memory, no synchronisation until somebody reads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def upload(values: Tensor | npt.NDArray[Any] | Sequence[Any], device: torch.device) -> Tensor:
    """Values on ``device``. A CUDA copy is queued in the current stream, and the host does not wait for it."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()  # torch has no read-only tensors
    tensor = torch.as_tensor(values)
    if device.type == "cuda" and not tensor.is_cuda:
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        return pinned.to(device, non_blocking=True)
    return tensor.to(device)


def staging(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uninitialised host memory from which a copy to ``device`` can run beside computation."""
    return torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")


class FrameUpload:
    """One group's frames on their way to the device, in a stream of their own.

    Args:
        frames_FHW3: uint8 on the host, from ``staging``.
        device: of the model.
        stream: CUDA stream of copies; None copies at once.
    """

    def __init__(self, frames_FHW3: Tensor, device: torch.device, stream: Any = None) -> None:
        self._source, self._stream = frames_FHW3, stream
        if stream is None:
            self._frames = upload(frames_FHW3, device)
            return
        with torch.cuda.stream(stream):
            self._frames = frames_FHW3.to(device, non_blocking=True)

    def wait(self) -> Tensor:
        """The frames, for the current stream: it waits for the copy, the host does not."""
        if self._stream is not None:
            current = torch.cuda.current_stream(self._frames.device)
            current.wait_stream(self._stream)
            self._frames.record_stream(current)  # the allocator must not hand the memory out before it has been used
        return self._frames


class Download:
    """Tensors on their way to the host; ``read`` waits for them and for nothing queued later."""

    def __init__(self, *tensors: Tensor) -> None:
        self._host = tuple(_copy_to_host(tensor) for tensor in tensors)
        devices = {tensor.device for tensor in tensors if tensor.is_cuda}
        self._events = [torch.cuda.current_stream(device).record_event() for device in sorted(devices, key=str)]

    def read(self) -> tuple[npt.NDArray[Any], ...]:
        """The values, in the order given."""
        for event in self._events:
            event.synchronize()
        return tuple(np.asarray(tensor.numpy()) for tensor in self._host)


def _copy_to_host(tensor: Tensor) -> Tensor:
    if not tensor.is_cuda:
        return tensor
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
