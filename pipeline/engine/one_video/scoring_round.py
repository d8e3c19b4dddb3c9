"""One attempt at scoring a video: who is asked, what is in flight, and who holds the candidates that came of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.engine.messages.keys import WorkKey


@dataclass(kw_only=True, slots=True, eq=False)
class ScoringRound:
    """A round ends when scoring starts over; what workers still hold of it is then of no use.

    Attributes:
        attempt: part of every key, so that results of an earlier round are not taken for this one's.
        rung: of the memory ladder: how often batches are halved.
        isolated: the one question that is asked, where they are asked one at a time; None asks all.
        in_flight: groups handed out -> their scorer.
        holder: group position -> worker that holds its candidates, for every question that may buy of them.
        scorers: workers that were given groups, and may hold something.
        last_given: highest position handed out.
    """

    attempt: int = 1
    rung: int = 0
    isolated: int | None = None
    in_flight: dict[WorkKey, str] = field(default_factory=dict)
    holder: dict[int, str] = field(default_factory=dict)
    scorers: set[str] = field(default_factory=set)
    last_given: int = -1

    def next(self, *, rung: int, isolated: int | None) -> "ScoringRound":
        """The round after this one."""
        return ScoringRound(attempt=self.attempt + 1, rung=rung, isolated=isolated)

    def scope(self, num_questions: int) -> range:
        """Questions that are asked."""
        return range(num_questions) if self.isolated is None else range(self.isolated, self.isolated + 1)

    def hand_out(self, key: WorkKey, worker: str) -> None:
        """A group is on its way to a scorer."""
        self.in_flight[key] = worker
        self.scorers.add(worker)
        self.last_given = max(self.last_given, key.index)

    def file(self, key: WorkKey) -> None:
        """A group has been scored: its scorer holds its candidates."""
        self.holder[key.index] = self.in_flight.pop(key)

    def take_back(self, keys: Iterable[WorkKey]) -> list[tuple[str, WorkKey]]:
        """Groups in flight are no longer awaited; returns who works on them."""
        return [(self.in_flight.pop(key), key) for key in list(keys)]

    def is_in_use(self, key: WorkKey, worker: str) -> bool:
        """Whether a worker holds, or is making, candidates that go by the same name as those of a late result."""
        is_making = any(other.index == key.index and scorer == worker for other, scorer in self.in_flight.items())
        return key.attempt == self.attempt and (is_making or self.holder.get(key.index) == worker)

    def held_by(self, worker: str) -> list[int]:
        """Groups whose candidates lie with a worker."""
        return [position for position, holder in self.holder.items() if holder == worker]
