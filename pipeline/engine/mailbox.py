"""What waits for one worker until it asks, and what it was given last."""

from dataclasses import dataclass, field

from pipeline.engine.work import GatherWork, Retention, Work


@dataclass(kw_only=True, slots=True, eq=False)
class Mailbox:
    """One worker's mail. When the worker is lost, so is its mail: the videos concerned start over.

    Attributes:
        gathers: tokens it has to hand out.
        retain: candidates it may drop.
        released: videos of which it may drop everything.
        assigned: work it has been given and has not reported.
    """

    gathers: list[GatherWork] = field(default_factory=list)
    retain: list[Retention] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    assigned: tuple[Work, ...] = ()

    def take_gathers(self) -> list[GatherWork]:
        """All gathers; they are not kept."""
        gathers, self.gathers = self.gathers, []
        return gathers

    def take_retain(self) -> tuple[Retention, ...]:
        """All retentions; they are not kept."""
        retain, self.retain = tuple(self.retain), []
        return retain

    def take_released(self) -> tuple[int, ...]:
        """All released videos; they are not kept."""
        released, self.released = tuple(self.released), []
        return released

    def release(self, video_id: int) -> None:
        """Forget a video's mail and tell the worker to do the same."""
        self.gathers = [work for work in self.gathers if work.key.video_id != video_id]
        self.retain = [retention for retention in self.retain if retention.video_id != video_id]
        self.released.append(video_id)
