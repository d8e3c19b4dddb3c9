"""What waits for one worker until it asks, and what it was given and has not reported."""

from dataclasses import dataclass, field

from pipeline.engine.work import GatherWork, Retention, WorkKey


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

    def keep(self, candidates: tuple[int, int, int], position: int, limit: int) -> None:
        """A later limit takes the place of an earlier one; the key is that of ``retain``."""
        self.retain.setdefault(candidates, {})[position] = limit

    def release(self, video_id: int) -> None:
        """Forget a video's retentions and tell the worker to drop what it holds of it."""
        self.retain = {key: limit for key, limit in self.retain.items() if key[0] != video_id}
        self.released.append(video_id)
