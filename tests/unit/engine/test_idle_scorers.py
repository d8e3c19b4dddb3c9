"""A scorer that would have nothing to do runs a little ahead of a question that may stop; a busy one never does."""

import pytest

from pipeline.engine.messages.work import DecodeWork, ScoreWork
from pipeline.engine.policy import IDLE_WINDOW
from tests.unit.engine.fakes import World, make_config, make_tasks


def world_with_one_video_read(method, *, num_scorers=6):
    """Many videos wait; of one all frames are there, nothing has been scored."""
    world = World(make_config(method), make_tasks(num_videos=20), num_scorers=num_scorers)
    while not any(isinstance(work, DecodeWork) for _, work in world.done):
        world.step("decoder-0")
    return world


@pytest.mark.parametrize(
    ("method", "first_given"),
    [("adapttoken", [0, 1, 2, 3, 4, 5]), ("adapttoken-lite", [0, 1, *range(2, 2 + IDLE_WINDOW)])],
)
def test_the_next_groups_are_given_one_to_each_who_has_none(method, first_given):
    world = world_with_one_video_read(method)
    for number in range(6):
        world.step(f"scorer-{number}")
    given = [[work.key.index for work in world.doing[f"scorer-{number}"]] for number in range(6)]
    assert given == [[position] for position in first_given]


def test_no_more_than_the_window_and_the_rest_of_the_scorers_wait():
    world = world_with_one_video_read("adapttoken-lite", num_scorers=9)
    for number in range(9):
        world.step(f"scorer-{number}")
    given = [work for number in range(9) for work in world.doing[f"scorer-{number}"] if isinstance(work, ScoreWork)]
    assert sorted(work.key.index for work in given) == list(range(2 + IDLE_WINDOW))
