"""Seconds of queued work by stage, as the devices spent them, without waiting for them while it is queued."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

_Border = list[Any]  # one event per GPU, or one reading of the clock


class DeviceTimer:
    """On GPUs a stage's borders are events in their streams; elsewhere they are readings of the clock.

    A model over several GPUs works on one after the other. A stage begins with the first of them: the others' events
    wait for its. It has ended on the GPU that took longest from there.

    Args:
        devices: all that the model lies on; work enters on the first.
    """

    def __init__(self, devices: Sequence[torch.device]) -> None:
        self._gpus = [device for device in devices if device.type == "cuda"]
        self._borders: dict[str, tuple[_Border, _Border]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is queued inside belongs to ``name``."""
        begin = self._begin()
        yield
        self._borders[name] = begin, self._now()

    def seconds(self) -> dict[str, float]:
        """By stage, 0 for one that never came; call it when the last one's results have been read."""
        spent = dict.fromkeys(("encode", "prefill", "score"), 0.0)
        for name, borders in self._borders.items():
            spent[name] = max(self._between(begin, end) for begin, end in zip(*borders, strict=True))
        return spent

    def _begin(self) -> _Border:
        border = self._now()
        if len(self._gpus) < 2:
            return border
        for gpu in self._gpus[1:]:
            torch.cuda.current_stream(gpu).wait_event(border[0])
        return [border[0], *self._events(self._gpus[1:])]

    def _now(self) -> _Border:
        return self._events(self._gpus) if self._gpus else [time.perf_counter()]

    def _events(self, gpus: Sequence[torch.device]) -> _Border:
        events = []
        for gpu in gpus:
            events.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
            events[-1].record(torch.cuda.current_stream(gpu))
        return events

    def _between(self, begin: Any, end: Any) -> float:
        if not self._gpus:
            return float(end - begin)
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1_000
