"""What a worker that computes nothing reports of a piece of work."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.engine.messages.work import (
    AnswerWork,
    DecodeDone,
    DecodeWork,
    GatherDone,
    GatherWork,
    ProbeDone,
    ProbeWork,
    Ref,
    Result,
    ScoreWork,
    Work,
)
from pipeline.lab.simulation.archive import Archive
from pipeline.planning.video_plan import VideoPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownResults:
    """Every result beforehand.

    Attributes:
        put: makes a reference, to nothing.
        plan: a video's own plan.
    """

    archive: Archive
    put: Callable[[], Ref]
    plan: Callable[[], VideoPlan]

    def of(self, work: Work) -> Result:
        """At once."""
        if isinstance(work, ScoreWork):
            return self.archive.score(work)
        if isinstance(work, DecodeWork):
            num_decoded = work.stretch.num_frames_to_decode
            numbers = dict.fromkeys(position // work.groups_per_bundle for position in work.slots.positions)
            bundles = {number: self.put() for number in numbers}
            return DecodeDone(bundles=bundles, decoder="simulated", num_frames_decoded=num_decoded)
        if isinstance(work, GatherWork):
            return GatherDone(pieces=self.put())
        if isinstance(work, AnswerWork):
            return self.archive.answer()
        assert isinstance(work, ProbeWork)
        return ProbeDone(plan=self.plan(), probe=self.put())
