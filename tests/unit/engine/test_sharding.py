"""How a job is split, and where workers go; and that what is split and summed is the whole."""

from collections import Counter
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.progress import Progress, Tally
from pipeline.engine.sharding import ShardLoad, choose_shard, count_shards, home_of, most_workers, shard_config
from pipeline.settings.config import ExecutionConfig, RunConfig
from pipeline.settings.reading import config_hash


def execution(scorers=200, decoders=200, coordinators=None):
    return ExecutionConfig(num_scorers=scorers, num_decoders=decoders, num_coordinators=coordinators)


@pytest.mark.parametrize(
    ("settings", "can_stop", "num_videos", "num"),
    [
        (execution(32), False, 1000, 1),
        (execution(33), False, 1000, 2),
        (execution(64), True, 1000, 4),
        (execution(1000, 1000), False, 10_000, 32),
        (execution(1000, 1000), True, 10_000, 50),
        (execution(200, decoders=3), False, 1000, 3),  # each reads
        (execution(200), False, 9, 2),  # each has four videos
        (execution(200), False, 3, 1),
        (execution(200, coordinators=4), False, 2, 2),  # as set, but each has a video
        (execution(2, 2, coordinators=8), False, 1000, 2),  # each scores
        (execution(200, coordinators=1), True, 1000, 1),  # as set
        (execution(1, 1), True, 0, 1),
    ],
)
def test_shards_follow_from_the_scorers_and_leave_each_one_something(settings, can_stop, num_videos, num):
    assert count_shards(settings, can_stop=can_stop, num_videos=num_videos) == num


@given(st.integers(1, 300), st.integers(1, 20))
def test_homes_are_neighbours_and_differ_by_one_place_at_most(num_places, num_shards):
    homes = [home_of(place, num_places=num_places, num_shards=num_shards) for place in range(num_places)]
    assert homes == sorted(homes)
    counts = Counter(homes)
    assert set(homes) <= set(range(num_shards))
    if num_places >= num_shards:
        assert set(homes) == set(range(num_shards))
        assert max(counts.values()) - min(counts.values()) <= 1


def test_a_worker_stays_at_home_while_that_goes_on_then_goes_where_most_is_left_for_each():
    loads = {0: ShardLoad(100, 10), 1: ShardLoad(30, 1), 2: ShardLoad(5, 0)}
    assert choose_shard(loads, home=0, most=20) == 0
    del loads[0]
    assert choose_shard(loads, home=0, most=20) == 1  # 30 / 2 against 5 / 1
    assert choose_shard(loads | {1: ShardLoad(30, 9)}, home=0, most=20) == 2
    assert choose_shard({}, home=0, most=20) is None


def test_a_shard_takes_twice_the_workers_that_are_at_home_there_and_the_others_wait():
    assert [most_workers(places, num_shards=3) for places in (3, 7, 9)] == [2, 6, 6]
    loads = {1: ShardLoad(300, 6), 2: ShardLoad(5, 5)}
    assert choose_shard(loads, home=0, most=6) == 2  # where more is left there is no room
    assert choose_shard(loads | {2: ShardLoad(5, 6)}, home=0, most=6) is None
    assert choose_shard(loads, home=1, most=6) == 1  # who is at home always has room


def test_shards_share_what_workers_may_hold_and_nothing_of_it_enters_the_hash():
    config = RunConfig()
    part = shard_config(config, 4)
    assert part.execution.frame_room_bytes * 4 == config.execution.frame_room_bytes
    assert part.execution.candidate_bytes * 4 == config.execution.candidate_bytes
    assert config_hash(part, model_revision="r") == config_hash(config, model_revision="r")


NUMBERS = st.integers(0, 1000)
PROGRESS = st.builds(
    Progress,
    **{item.name: NUMBERS for item in fields(Progress) if item.name not in ("stage_seconds", "ended", "open_share")},
    open_share=NUMBERS,
    stage_seconds=st.builds(StageSeconds, encode_s=NUMBERS, answer_s=NUMBERS),
    ended=st.builds(Tally, num_videos_done=NUMBERS, num_questions_done=NUMBERS),
)


@given(st.lists(PROGRESS, min_size=2, max_size=4))
def test_progress_of_parts_is_their_sum_in_every_count(parts):
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    for item in fields(Progress):
        values = [getattr(part, item.name) for part in parts]
        total = values[0]
        for value in values[1:]:
            total = total + value
        assert getattr(whole, item.name) == total
    assert whole.ended.num_videos_done == sum(part.ended.num_videos_done for part in parts)
    assert replace(whole, num_videos=0) != whole or whole.num_videos == 0
