"""Seconds of queued work by stage, as the device spent them, without waiting for it while it is queued."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class DeviceTimer:
    """On a GPU a stage's borders are events in its stream; elsewhere they are readings of the clock."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._borders: dict[str, tuple[Any, Any]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is queued inside belongs to ``name``."""
        begin = self._now()
        yield
        self._borders[name] = begin, self._now()

    def seconds(self) -> dict[str, float]:
        """By stage, 0 for one that never came; call it when the last one's results have been read."""
        spent = dict.fromkeys(("encode", "prefill", "score"), 0.0)
        for name, (begin, end) in self._borders.items():
            if self._device.type == "cuda":
                end.synchronize()
                spent[name] = begin.elapsed_time(end) / 1_000
            else:
                spent[name] = end - begin
        return spent

    def _now(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event
