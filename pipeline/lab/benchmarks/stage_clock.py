"""Where the time goes: every instant between start and stop belongs to one stage, the innermost that is open.

On a GPU borders are CUDA events in the stream, so that nothing waits for them: a stage's seconds are the device's own,
with the time in which it waits for the host. Elsewhere borders are readings of the wall clock.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch

from pipeline.models.interface import FinalTokens, VideoModel
from pipeline.planning.flop_floor import ENCODE, FINAL, PREFILL, SCORE

OTHER = "other"
_STAGE_OF_CALL = {"encode": ENCODE, "prefill": PREFILL, "launch": SCORE, "answer": FINAL}


class StageClock:
    """One run; stages may be nested and may come back."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._is_cuda = device.startswith("cuda")
        self._borders: list[tuple[str, Any]] = []  # stage that begins, event or reading
        self._stage = OTHER
        self._started = 0.0
        self.wall_s = 0.0

    def start(self) -> None:
        """Begin a run; peak memory counts from here where the device can say."""
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        self._borders.clear()
        self._synchronize()
        self._started = time.perf_counter()
        self._mark(OTHER)

    def stop(self) -> None:
        """End the run; ``wall_s`` is read from a clock of its own."""
        self._mark(OTHER)
        self._synchronize()
        self.wall_s = time.perf_counter() - self._started

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What happens inside belongs to ``name``."""
        outer = self._stage
        self._mark(name)
        try:
            yield
        finally:
            self._mark(outer)

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, of the run that has been stopped."""
        total: dict[str, float] = {}
        for (stage, begin), (_, end) in pairwise(self._borders):
            spent = begin.elapsed_time(end) / 1_000 if self._is_cuda else end - begin
            total[stage] = total.get(stage, 0.0) + spent
        return total

    def peak_bytes(self) -> int:
        """Most memory in use: of the GPU's allocator during the run, else of this process so far."""
        if self._is_cuda:
            return torch.cuda.max_memory_allocated(self._device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024

    def _mark(self, stage: str) -> None:
        self._stage = stage
        if self._is_cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            self._borders.append((stage, event))
        else:
            self._borders.append((stage, time.perf_counter()))

    def _synchronize(self) -> None:
        if self._is_cuda:
            torch.cuda.synchronize(self._device)


class StagedModel:
    """A ``VideoModel`` whose calls are stages of a clock.

    Attributes:
        shown: per final pass, tokens and temporal patches that it was given.
    """

    def __init__(self, model: VideoModel, clock: StageClock) -> None:
        self._model, self._clock = model, clock
        self.shown: list[tuple[int, int]] = []

    def as_model(self) -> VideoModel:
        """Itself; every other attribute is the model's."""
        return cast(VideoModel, self)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        return self._timed(name, value) if name in _STAGE_OF_CALL else value

    def _timed(self, name: str, call: Any) -> Any:
        def run(*arguments: Any, **keywords: Any) -> Any:
            if arguments and isinstance(arguments[0], FinalTokens):
                tokens = arguments[0]
                self.shown.append((len(tokens.patch_K), len(np.unique(tokens.patch_K))))
            with self._clock.stage(_STAGE_OF_CALL[name]):
                return call(*arguments, **keywords)

        return run


def measure_matmul_peak(device: str, dtype: torch.dtype) -> float:
    """FLOP per second of a large square matrix product on random data: the best of three means of five products."""
    side = 8_192 if device.startswith("cuda") else 1_024
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    clock = StageClock(device)
    for _ in range(4):  # the first one warms up
        clock.start()
        for _ in range(5):
            torch.matmul(left, right)
        clock.stop()
        seconds.append(clock.wall_s / 5)
    return 2 * side**3 / min(seconds[1:])
