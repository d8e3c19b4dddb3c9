"""How long to wait for a worker: one that is silent is lost, one that takes far longer than such work took is ended.

Pure; the clock is the caller's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from pipeline.engine.messages.keys import Role, Stage, WorkKey, role_of

SILENCE_S = 30.0
"""Who has nothing to do asks every ten seconds at least; for longer than this it is not there."""

LEAST_S = 30.0
TIMES_SLOWEST = 10.0


class Overdue(NamedTuple):
    """A worker that is not waited for any longer.

    Attributes:
        held: pieces of work that it has; none where it is only silent.
        limit_s: what it has exceeded.
        is_setting: whether ``limit_s`` is the setting, and not what was learnt in this run.
    """

    worker: str
    held: int
    limit_s: float
    is_setting: bool


@dataclass(kw_only=True, slots=True, eq=False)
class _Seen:
    """One worker: when it was last given or asked anything, and what it has not reported."""

    at_s: float
    is_asking: bool = False
    held: dict[WorkKey, None] = field(default_factory=dict)


class WorkerPatience:
    """Waits for work at most ``10 x`` as long as the slowest of its stage took so far, at least 30 s.

    Until a stage is known, and as an upper bound, the settings count. Who is ended too early does no harm: the piece is
    done again, and the time it was given counts as the slowest from then on, so that this does not go on.
    """

    def __init__(self, most_s: Mapping[Role, float], least_s: Mapping[Role, float] = MappingProxyType({})) -> None:
        """Begin with nothing learnt.

        Args:
            most_s: wall seconds by role, of the settings.
            least_s: what is waited whatever was learnt, where one piece may take far longer than others.
        """
        self._most_s, self._least_s = most_s, least_s
        self._seen: dict[str, _Seen] = {}
        self._slowest_s: dict[Stage, float] = {}

    def expect(self, worker: str, *, now_s: float) -> None:
        """It has been told to work, and should ask."""
        self._seen.setdefault(worker, _Seen(at_s=now_s))

    def note_call(self, worker: str, done: Iterable[WorkKey], *, now_s: float) -> None:
        """It asks, and reports pieces; how long they took is learnt, wherever the time went."""
        seen = self._seen.setdefault(worker, _Seen(at_s=now_s))
        for key in done:
            if key in seen.held:
                del seen.held[key]
                self._slowest_s[key.stage] = max(self._slowest_s.get(key.stage, 0.0), now_s - seen.at_s)
        seen.at_s, seen.is_asking = now_s, True

    def note_reply(self, worker: str, given: Sequence[WorkKey], *, now_s: float) -> None:
        """Its call is answered; what it was given is due from now on."""
        seen = self._seen.get(worker)
        if seen is not None:
            seen.at_s, seen.is_asking = now_s, False
            seen.held.update(dict.fromkeys(given))

    def num_held(self, worker: str) -> int:
        """Pieces that it was given and has not reported."""
        seen = self._seen.get(worker)
        return 0 if seen is None else len(seen.held)

    def forget(self, worker: str) -> None:
        """It is gone."""
        self._seen.pop(worker, None)

    def overdue(self, now_s: float) -> list[Overdue]:
        """Who is not waited for any longer, each named once; what was learnt about its work grows with it."""
        found = []
        for worker, seen in [*self._seen.items()]:
            limit_s, is_setting = self._limit(worker, seen)
            if seen.is_asking or now_s - seen.at_s <= limit_s:
                continue
            found.append(Overdue(worker, len(seen.held), limit_s, is_setting))
            for key in seen.held:
                self._slowest_s[key.stage] = max(self._slowest_s.get(key.stage, 0.0), limit_s)
            self.forget(worker)
        return found

    def _limit(self, worker: str, seen: _Seen) -> tuple[float, bool]:
        most_s = self._most_s[role_of(worker)]
        if not seen.held:
            return SILENCE_S, False
        slowest_s = [self._slowest_s.get(key.stage) for key in seen.held]
        known_s = [took_s for took_s in slowest_s if took_s is not None]
        if len(known_s) < len(slowest_s):
            return most_s, True
        least_s = self._least_s.get(role_of(worker), LEAST_S)
        learnt_s = max(least_s, TIMES_SLOWEST * max(known_s))
        return min(most_s, learnt_s), most_s <= learnt_s
