"""Which faults there are, and at which transition of a piece of work each can strike."""

import random
from dataclasses import dataclass
from enum import StrEnum

from pipeline.failures import RETRYABLE, FailureClass

STAGES = ("probe", "decode", "score", "gather", "answer")


class Moment(StrEnum):
    """Transitions of a piece of work."""

    HANDED_OUT = "handed out"
    DONE = "done"
    REPORTED = "reported"


class Kind(StrEnum):
    """What goes wrong."""

    DEATH = "worker dies"
    PRESUMED_DEAD = "given up, yet reports late"
    HANG = "hangs, then reports late"
    COORDINATOR = "coordinator restarts"
    FAILURE = "typed failure"
    FULL = "no room for what was read"
    CANCELLED = "worker gives it up unasked"
    TWICE = "reported twice in one call"
    AGAIN = "reported again later"
    IMPOSTOR = "reported by another worker"
    POISON_DEATH = "kills whoever does it"
    POISON_FAILURE = "fails for whoever does it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One cell of the table. ``failure_class`` only with the typed kinds."""

    kind: Kind
    stage: str
    moment: Moment
    failure_class: FailureClass | None = None

    @property
    def is_poison(self) -> bool:
        """Whether it strikes at every try."""
        return self.kind in (Kind.POISON_DEATH, Kind.POISON_FAILURE)

    @property
    def label(self) -> str:
        """Row of the table."""
        return f"{self.kind}: {self.failure_class}" if self.failure_class else str(self.kind)


def _cells() -> list[Fault]:
    cells = []
    for stage in STAGES:
        for kind in (Kind.DEATH, Kind.PRESUMED_DEAD, Kind.HANG, Kind.COORDINATOR):
            cells += [Fault(kind=kind, stage=stage, moment=moment) for moment in Moment]
        for kind in (Kind.TWICE, Kind.AGAIN, Kind.IMPOSTOR):
            cells.append(Fault(kind=kind, stage=stage, moment=Moment.REPORTED))
        cells.append(Fault(kind=Kind.CANCELLED, stage=stage, moment=Moment.DONE))
        if stage in ("probe", "decode"):
            cells.append(Fault(kind=Kind.FULL, stage=stage, moment=Moment.DONE))
        for failure_class in sorted(set(FailureClass) - {FailureClass.MANIFEST}):
            cells.append(Fault(kind=Kind.FAILURE, stage=stage, moment=Moment.DONE, failure_class=failure_class))
        for kind, classes in (
            (Kind.POISON_DEATH, (None,)),
            (Kind.POISON_FAILURE, (FailureClass.INTERNAL, FailureClass.MODEL, FailureClass.OUT_OF_MEMORY)),
        ):
            cells += [Fault(kind=kind, stage=stage, moment=Moment.DONE, failure_class=c) for c in classes]
    return cells


CELLS = tuple(_cells())
# what may strike beside the first fault of a case without failing a row of its own
_SIDE = tuple(
    cell
    for cell in CELLS
    if not cell.is_poison
    and cell.kind is not Kind.COORDINATOR
    and (cell.failure_class is None or (cell.failure_class in RETRYABLE and cell.failure_class != "out_of_memory"))
)
_HARMLESS = tuple(cell for cell in _SIDE if cell.kind in (Kind.TWICE, Kind.AGAIN, Kind.IMPOSTOR, Kind.CANCELLED))


def draw_side_fault(rng: random.Random, *, is_harmless: bool) -> Fault:
    """One more; beside poison only such as leave every question its attempts."""
    return rng.choice(_HARMLESS if is_harmless else _SIDE)
