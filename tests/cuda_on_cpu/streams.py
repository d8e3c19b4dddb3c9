"""Streams and events as CUDA orders them, by vector clocks: what is known to have ended before what.

``Clock``: stream -> how many of its operations are known to have ended, or come before.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from tests.cuda_on_cpu.breakage import EVENT, WAIT, Breakage
from tests.cuda_on_cpu.journal import Journal

Clock = Counter[str]


def merge(clock: Clock, other: Mapping[str, int]) -> None:
    for stream, time in other.items():
        clock[stream] = max(clock[stream], time)


class Stream:
    """Operations in order; ``clock`` says what comes before the next one."""

    def __init__(self, timeline: "Timeline", device: torch.device, name: str) -> None:
        self.device, self.name, self.clock = device, name, Clock()
        self.pending: list[tuple[int, Callable[[], None]]] = []  # copies that nobody has seen to end
        self._timeline = timeline

    def tick(self) -> int:
        """One more operation; returns its number."""
        self.clock[self.name] += 1
        return self.clock[self.name]

    def wait_stream(self, other: "Stream") -> None:
        merge(self.clock, other.clock)

    def wait_event(self, event: "Event") -> None:
        merge(self.clock, event.clock or {})

    def record_event(self, event: "Event | None" = None) -> "Event":
        event = event or Event(self._timeline)
        event.record(self)
        return event

    def synchronize(self) -> None:
        self._timeline.wait("stream.synchronize", self)


class Event:
    def __init__(self, timeline: "Timeline", enable_timing: bool = False) -> None:
        self._timeline, self._has_timing = timeline, enable_timing
        self.clock: Clock | None = None

    def record(self, stream: Stream | None = None) -> None:
        self._timeline.breakage.meet(EVENT)
        stream = stream or self._timeline.current()
        stream.tick()
        self.clock, self.device = Clock(stream.clock), stream.device

    def synchronize(self) -> None:
        if self.clock is None:
            self._timeline.journal.fault("an event is waited for that was never recorded")
            return
        self._timeline.breakage.meet(WAIT)
        self._timeline.journal.wait("event")
        self._timeline.host_saw(self.clock)

    def elapsed_time(self, other: "Event") -> float:
        if self.device != other.device:
            raise RuntimeError("events of two devices have no time between them")
        if not (self._has_timing and other._has_timing):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if not other.is_over:
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return 1.0

    @property
    def is_over(self) -> bool:
        host = self._timeline.host
        return self.clock is not None and all(host[stream] >= time for stream, time in self.clock.items())


class Timeline:
    """All streams of a machine, the current one of each device, and what the host has seen end."""

    def __init__(self, journal: Journal, breakage: Breakage) -> None:
        self.journal, self.breakage, self.host = journal, breakage, Clock()
        self.streams: dict[str, Stream] = {}
        self._current: dict[int, Stream] = {}
        self._numbers = itertools.count(1)
        self.device_index = 0

    def new_stream(self, device: Any = None, **_: Any) -> Stream:
        return self._add(self.device(device), str(next(self._numbers)))

    def new_event(self, enable_timing: bool = False, **_: Any) -> Event:
        return Event(self, enable_timing)

    def device(self, device: Any = None) -> torch.device:
        """With an index, that of the current device where none is given."""
        if isinstance(device, int):
            return torch.device("cuda", device)
        found = torch.device("cuda" if device is None else device)
        return torch.device("cuda", self.device_index if found.index is None else found.index)

    def current(self, device: Any = None) -> Stream:
        found = self.device(device)
        if found.index not in self._current:
            self._current[found.index] = self._add(found, "default")
        return self._current[found.index]

    @contextmanager
    def use(self, stream: Stream | None) -> Iterator[None]:
        """``torch.cuda.stream``."""
        if stream is None:
            yield
            return
        before, index = self.current(stream.device), self.device_index
        self._current[stream.device.index], self.device_index = stream, stream.device.index
        try:
            yield
        finally:
            self._current[stream.device.index], self.device_index = before, index

    def wait(self, why: str, stream: Stream) -> None:
        """The host waits for all that a stream has been given."""
        self.breakage.meet(WAIT)
        self.journal.wait(why)
        self.host_saw(stream.clock)

    def host_saw(self, clock: Mapping[str, int]) -> None:
        """What is known to have ended takes effect: only now does the host find the numbers of a copy."""
        merge(self.host, clock)
        for stream in self.streams.values():
            ended = [effect for time, effect in stream.pending if time <= self.host[stream.name]]
            stream.pending = [(time, effect) for time, effect in stream.pending if time > self.host[stream.name]]
            for effect in ended:
                effect()

    def synchronize(self, device: Any = None) -> None:
        for stream in self.streams.values():
            self.host_saw(stream.clock)

    def _add(self, device: torch.device, name: str) -> Stream:
        stream = Stream(self, device, f"{device.index}:{name}")
        self.streams[stream.name] = stream
        return stream
