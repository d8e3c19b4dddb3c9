"""Which faults are still to come in one case, where they strike, and what stays poisoned."""

import random
from collections.abc import Sequence

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import DecodeWork, ProbeWork, ScoreWork, Work
from pipeline.lab.chaos.faults import Fault, Moment
from pipeline.lab.chaos.jobs import ChaosJob


class Strikes:
    """One case's.

    Attributes:
        struck: (fault, video, question or group) of every fault that struck; poison once per try.
        poisoned: poison that has come up: its video, and the question where it is one's.
    """

    def __init__(self, job: ChaosJob, rng: random.Random, pending: Sequence[tuple[Fault, int]]) -> None:
        """``pending``: faults with the number of matching transitions that still pass unharmed."""
        self._job, self._rng, self._pending = job, rng, list(pending)
        self.struck: list[tuple[Fault, WorkKey]] = []
        self.poisoned: dict[Fault, tuple[int, int]] = {}

    def at(self, work: Work, moment: Moment) -> Fault | None:
        """What strikes at this transition, if anything; poison before all else."""
        for fault, (video_id, index) in self.poisoned.items():
            if fault.moment is moment and _is_hit(fault, work, video_id, index):
                self.struck.append((fault, work.key))
                return fault
        return self.at_key(work.key, moment)

    def at_key(self, key: WorkKey, moment: Moment) -> Fault | None:
        """The same where only the key is known; what poison strikes first becomes poisoned."""
        for number, (fault, skip) in enumerate(self._pending):
            if (fault.stage, fault.moment) != (key.stage, moment):
                continue
            if skip:
                self._pending[number] = fault, skip - 1
                continue
            del self._pending[number]
            self.struck.append((fault, key))
            if fault.is_poison:
                self._poison(fault, key)
            return fault
        return None

    def _poison(self, fault: Fault, key: WorkKey) -> None:
        is_own = key.stage in ("gather", "answer")
        questions = range(len(self._job.tasks[key.video_id].questions))
        asked = [index for index in questions if (key.video_id, index) not in self._job.refused]
        self.poisoned[fault] = key.video_id, key.index if is_own else self._rng.choice(asked or [0])


def _is_hit(fault: Fault, work: Work, video_id: int, index: int) -> bool:
    if work.key.video_id != video_id or work.key.stage != fault.stage:
        return False
    if isinstance(work, ScoreWork):
        return index in work.group.asked
    return isinstance(work, ProbeWork | DecodeWork) or work.key.index == index
