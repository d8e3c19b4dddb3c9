"""Where a scorer's host may wait for its GPU, why, and how often: the whole list. A test holds it both ways.

A wait that is not here fails, one that has vanished or comes more or less often too. ``per`` counts, on the CPU, how
often the job does what the wait belongs to.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from pipeline.method import removal
from pipeline.models import generation
from pipeline.models.adapter import Adapter
from pipeline.passes.candidates import GroupCandidates
from pipeline.passes.group_pass import GroupScorer
from tests.cuda_on_cpu.journal import Journal


@dataclass(frozen=True, kw_only=True, slots=True)
class AllowedWait:
    """One place.

    Attributes:
        place: innermost functions of the project; ``what``: what the host waits for.
        per: unit of ``UNITS``; ``times``: waits for each of them, ``times_apart`` where the model lies on two GPUs.
        why: it is needed.
    """

    place: str
    what: str
    per: str
    why: str
    times: int = 1
    times_apart: int | None = None


UNITS: Mapping[str, tuple[Any, str]] = {
    "group": (GroupScorer, "launch"),
    "micro-batch": (Adapter, "launch"),
    "token step": (generation, "choose_tokens"),
    "bought piece": (GroupCandidates, "fetch"),
    "question": (Adapter, "answer"),
    "removal": (removal, "_most_similar_pairs"),
}
_EVENT = "event"
ALLOWED = (
    AllowedWait(
        place="PendingResponses.rows > Download.read",
        what=_EVENT,
        per="micro-batch",
        why="first tokens and entropies are the result; read once the next group is queued, or to extend an open one",
    ),
    AllowedWait(
        place="PendingResponses.rows > Download.read",
        what=_EVENT,
        per="question",
        why="the answer's first token is the result; nothing else waits in this process",
    ),
    AllowedWait(
        place="PendingResponses.read > Download.read",
        what=_EVENT,
        per="micro-batch",
        why="probabilities and attention of the same copy: it has ended, the host only looks",
    ),
    AllowedWait(
        place="PendingResponses.read > Download.read",
        what=_EVENT,
        per="question",
        why="the same of a final pass",
    ),
    AllowedWait(
        place="extend_greedily > Download.read",
        what=_EVENT,
        per="token step",
        why="any token may end the response, and the next follows from it: once for all open questions of a batch",
    ),
    AllowedWait(
        place="DeviceTimer.seconds > DeviceTimer._between",
        what=_EVENT,
        per="group",
        times=3,
        times_apart=6,
        why="one per stage and GPU, of a pass whose results have been read: all have ended, the host only looks",
    ),
    AllowedWait(
        place="PieceDownload.read > Download.read",
        what=_EVENT,
        per="bought piece",
        why="bought tokens leave the process; all pieces are under way before the first is waited for",
    ),
    AllowedWait(
        place="remove_redundant > _check_tokens",
        what="_local_scalar_dense",
        per="removal",
        why="features that are not finite must not be compared; behind the merge, which removal needs anyway",
    ),
    AllowedWait(
        place="remove_redundant > _most_similar_pairs",
        what="nonzero",
        per="removal",
        why="how many pairs reach the floor decides the shape of what comes",
    ),
    AllowedWait(
        place="remove_redundant > _most_similar_pairs",
        what="copy to the host",
        per="removal",
        why="the host walks over the pairs",
    ),
)


@contextmanager
def counted_units() -> Iterator[Counter[str]]:
    """How often each unit is done inside."""
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        for unit, (owner, name) in UNITS.items():
            stack.enter_context(mock.patch.object(owner, name, _counting(getattr(owner, name), unit, counts)))
        yield counts


def _counting(function: Any, unit: str, counts: Counter[str]) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        counts[unit] += 1
        return function(*args, **kwargs)

    return run


def compare_waits(
    journal: Journal, units: Mapping[str, int], *, num_devices: int, outputs_apart: bool = False
) -> list[str]:
    """What differs from the list: nothing, if all is well.

    Args:
        journal: of the process that did the whole job.
        units: what the job comes to.
        num_devices: of the process.
        outputs_apart: whether the reference layer lies on another GPU than the head, so that results come from both.
    """
    expected: Counter[tuple[str, str]] = Counter()
    for wait in ALLOWED:
        times = wait.times if num_devices == 1 else wait.times_apart or wait.times
        if outputs_apart and wait.place.startswith("PendingResponses"):
            times = num_devices
        expected[wait.place, wait.what] += times * units[wait.per]
    found = journal.waits
    return [
        f"{place}: {what} {found[place, what]} times, allowed and needed are {expected[place, what]}"
        f" ({journal.lines.get(place, 'nowhere')})"
        for place, what in sorted(found.keys() | expected.keys())
        if found[place, what] != expected[place, what]
    ]
