"""What waits for one worker until it asks, and what it was given and has not reported."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import GatherWork, Retention


@dataclass(kw_only=True, slots=True, eq=False)
class Mailbox:
    """One worker's mail. When the worker is lost, so is its mail: what it held is made again elsewhere.

    Attributes:
        gathers: tokens it has to hand out; some may have become stale.
        retain: (video, attempt, question) -> group position -> candidates it may keep.
        released: videos of which it may drop everything.
        assigned: pieces it has been given and has not reported, in order of execution.
    """

    gathers: list[GatherWork] = field(default_factory=list)
    retain: dict[tuple[int, int, int], dict[int, int]] = field(default_factory=dict)
    released: list[int] = field(default_factory=list)
    assigned: dict[WorkKey, None] = field(default_factory=dict)

    def take_gathers(self) -> list[GatherWork]:
        """All gathers; they are not kept."""
        gathers, self.gathers = self.gathers, []
        return gathers

    def take_retain(self) -> tuple[Retention, ...]:
        """All retentions; they are not kept."""
        retain, self.retain = self.retain, {}
        return tuple(
            Retention(video_id=video, attempt=attempt, question=question, limits=limits)
            for (video, attempt, question), limits in retain.items()
        )

    def take_released(self) -> tuple[int, ...]:
        """All released videos; they are not kept."""
        released, self.released = tuple(self.released), []
        return released

    def limits_of(self, candidates: tuple[int, int, int]) -> dict[int, int]:
        """Group position -> candidates to keep, to be written to; the key is that of ``retain``."""
        return self.retain.setdefault(candidates, {})

    def release(self, video_id: int) -> None:
        """Forget a video's retentions and tell the worker to drop what it holds of it."""
        self.retain = {key: limit for key, limit in self.retain.items() if key[0] != video_id}
        self.released.append(video_id)


def post_limits(
    boxes: Mapping[str, Mailbox],
    candidates: tuple[int, int, int],
    limits: Mapping[int, int],
    *,
    holder: Mapping[int, str],
) -> None:
    """Tell each group's holder how many of its candidates a question may still need.

    Args:
        boxes: of all workers.
        candidates: the key of ``retain``.
        limits: group position -> candidates.
        holder: group position -> worker; a group that nobody holds is lost, and its next holder will be told.
    """
    mail: dict[str, dict[int, int]] = {}
    for position, limit in limits.items():
        worker = holder.get(position)
        if worker is None:
            continue
        if worker not in mail:
            mail[worker] = boxes[worker].limits_of(candidates)
        mail[worker][position] = limit
