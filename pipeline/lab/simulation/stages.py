"""How long a piece of work takes and what it yields: the simulated worker processes."""

import math
import random
from dataclasses import dataclass

from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import AnswerWork, Batch, Completion, DecodeWork, GatherWork, Result, ScoreWork, Work
from pipeline.lab.simulation.archive import Archive
from pipeline.lab.simulation.results import KnownResults
from pipeline.lab.simulation.settings import SimulationSettings


@dataclass(kw_only=True, slots=True, eq=False)
class Piece:
    """One piece of work as it will be done: ``[start_s, end_s)`` and what is reported."""

    work: Work
    start_s: float
    end_s: float
    completion: Completion


class StageModel:
    """Draws durations; the same calls in the same order give the same draws."""

    def __init__(self, settings: SimulationSettings, archive: Archive) -> None:
        self._times, self._rng = settings.times, random.Random(settings.seed)
        self._results = KnownResults(archive=archive, put=object, plan=archive.plan_copy)
        self._num_coded, self._no_seconds = archive.plan.probe.num_frames, StageSeconds()

    def run(self, batch: Batch, start_s: float) -> list[Piece]:
        """A batch's pieces one after the other."""
        pieces, at_s, is_first_group = [], start_s, True
        for work in batch.work:
            mean_s, result = self._do(work)
            if isinstance(work, ScoreWork) and is_first_group:
                at_s, is_first_group = at_s + self._draw(self._times.fetch_s), False
            end_s = at_s + self._draw(mean_s)
            completion = Completion(key=work.key, result=result, seconds=self._no_seconds)
            pieces.append(Piece(work=work, start_s=at_s, end_s=end_s, completion=completion))
            at_s = end_s
        return pieces

    def _draw(self, mean_s: float) -> float:
        """Log-normal around the mean."""
        spread = self._times.spread
        if not spread:
            return mean_s
        return mean_s * math.exp(self._rng.gauss(0.0, spread) - spread * spread / 2)

    def _do(self, work: Work) -> tuple[float, Result]:
        """Mean seconds, and the result."""
        return self._mean_s(work), self._results.of(work)

    def _mean_s(self, work: Work) -> float:
        times = self._times
        if isinstance(work, ScoreWork):
            num_asked = sum(len(batch) for batch in work.group.batches)
            return times.encode_s + (times.prefill_s if num_asked else 0.0) + num_asked * times.question_s
        if isinstance(work, GatherWork):
            return times.gather_s
        if isinstance(work, AnswerWork):
            return times.answer_s
        if isinstance(work, DecodeWork):
            num_decoded, num_wanted = work.stretch.num_frames_to_decode, len(work.stretch.frame_indices)
            return num_decoded * times.decode_frame_s + num_wanted * times.wanted_frame_s
        return times.probe_s + self._num_coded * times.demux_frame_s
