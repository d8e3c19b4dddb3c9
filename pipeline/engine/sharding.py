"""How a job is split among several coordinators, and where a worker goes whose shard has run dry. Pure.

One coordinator is full at 82 GPUs, or 44 where questions stop early (docs/simulation.md), and half of that keeps calls
from waiting; a shard is a job of its own with every n-th video, so that no row depends on how many there are.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from pipeline.settings.config import ExecutionConfig, RunConfig

SCORERS_PER_SHARD = 32
SCORERS_PER_STOPPING_SHARD = 20
"""Where questions stop early, a group is decided on one by one, which costs a coordinator twice as much."""

_CROWDING = 2
FEWEST_VIDEOS = 4
"""Of a shard, unless set: with fewer, none would tell an outage of the storage from a bad video (``outage``)."""


class ShardLoad(NamedTuple):
    """What a shard that is not finished has left, and how many workers of one role serve it."""

    num_videos_left: int
    num_workers: int


def count_shards(execution: ExecutionConfig, *, can_stop: bool, num_videos: int) -> int:
    """Coordinators of a job: as set, else by its scorers; never more than leave each a scorer, a decoder and a video.

    ``200 scorers, 200 decoders -> 7; with early stopping 10; with 3 decoders 3; with 9 videos 2``
    """
    wanted = execution.num_coordinators
    if wanted is None:
        wanted = math.ceil(execution.scorers / (SCORERS_PER_STOPPING_SHARD if can_stop else SCORERS_PER_SHARD))
        wanted = min(wanted, num_videos // FEWEST_VIDEOS)
    most = min(execution.scorers, execution.decoders, num_videos)
    return max(1, min(wanted, most))


def shard_config(config: RunConfig, num_shards: int) -> RunConfig:
    """A shard's settings: its part of the workers and of what they hold. Nothing of it enters ``config_hash``.

    Videos are planned by them, too: a reading that is larger than the shard's room would wait for ever, and one that is
    cut for the decoders of all shards costs each coordinator as much as all of them.
    """
    execution = config.execution
    num_scorers, num_answerers = execution.num_scorers, execution.num_answerers
    num_scorers = None if num_scorers is None else math.ceil(num_scorers / num_shards)
    return replace(
        config,
        execution=replace(
            execution,
            num_scorers=num_scorers,
            min_scorers=min(execution.min_scorers, num_scorers or execution.min_scorers),
            num_answerers=None if num_answerers is None else math.ceil(num_answerers / num_shards),
            num_decoders=math.ceil(execution.decoders / num_shards),
            frame_buffer_bytes=max(1, execution.frame_room_bytes // num_shards),
            candidate_bytes=max(1, execution.candidate_bytes // num_shards),
        ),
    )


def home_of(place: int, *, num_places: int, num_shards: int) -> int:
    """The shard of one of a role's places: neighbours stay together, as decoders sit beside scorers.

    ``8 places, 2 shards -> 0 0 0 0 1 1 1 1``
    """
    return place * num_shards // num_places


def most_workers(num_places: int, *, num_shards: int) -> int:
    """Of one role in a shard that others join: twice those at home, or the last shards drown in calls of all workers.

    ``8,000 places, 100 shards -> 160``
    """
    return _CROWDING * math.ceil(num_places / num_shards)


def choose_shard(loads: Mapping[int, ShardLoad], *, home: int, most: int) -> int | None:
    """Where a worker that is free serves next: at home while that goes on, else where most is left per worker.

    Args:
        loads: by shard, of those that are not finished and have a coordinator.
        home: where it belongs.
        most: workers of its role that a shard takes (``most_workers``); those at home may be more.

    Returns:
        None where it has to wait until one has room.
    """
    if home in loads:
        return home
    loads = {shard: load for shard, load in loads.items() if load.num_workers < most}
    if not loads:
        return None
    return max(loads, key=lambda shard: (loads[shard].num_videos_left / (loads[shard].num_workers + 1), -shard))
