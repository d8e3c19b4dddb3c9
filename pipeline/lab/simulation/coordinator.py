"""One of the job's coordinators: the real state machine, its calls one at a time, and who waits for its reply."""

from dataclasses import dataclass, field

from pipeline.engine.job_state import JobState
from pipeline.engine.one_video.video_state import VideoState
from pipeline.engine.sharding import shard_config
from pipeline.lab.simulation.archive import Archive
from pipeline.lab.simulation.coordinator_queue import CoordinatorQueue
from pipeline.lab.simulation.fleet import Worker
from pipeline.lab.simulation.settings import SimulationSettings


@dataclass(kw_only=True, slots=True, eq=False)
class Coordinator:
    """One shard of the job.

    Attributes:
        waiting: role -> name -> worker whose call waits here, longest wait first.
        uncollected: videos that have ended since the driver asked.
        num_videos_left: as the driver knows it, from when it asked last; ``is_over`` likewise.
    """

    index: int
    state: JobState
    queue: CoordinatorQueue
    num_videos_left: int
    waiting: dict[str, dict[str, Worker]] = field(default_factory=dict)
    uncollected: list[VideoState] = field(default_factory=list)
    is_over: bool = False


def start_coordinators(settings: SimulationSettings, archive: Archive) -> list[Coordinator]:
    """As many as the product would, each with every n-th video and its part of the room."""
    config, tasks = settings.run_config(), archive.tasks()
    num = settings.num_shards
    return [
        Coordinator(
            index=index,
            state=JobState(tasks[index::num], config=shard_config(config, num)),
            queue=CoordinatorQueue(settings.coordinator),
            num_videos_left=len(tasks[index::num]),
        )
        for index in range(num)
    ]
