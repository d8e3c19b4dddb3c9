"""When Ray is given up: its head is silent, or says that this node is lost. The clock is the test's own."""

import pytest

from cluster.ray_watch import SILENCE_S, RayHealth

NODES = [{"NodeID": "a", "Alive": True}, {"NodeID": "b", "Alive": True}]


@pytest.fixture
def health():
    return RayHealth(node_id="a")


def test_a_head_that_answers_is_well_however_long_ago(health):
    health.ask(0.0)
    health.take_answer(NODES)
    assert health.judge(10_000.0) is None


def test_a_head_that_leaves_a_question_open_is_given_up_after_the_silence(health):
    health.ask(5.0)
    assert health.judge(5.0 + SILENCE_S) is None
    assert health.judge(5.1 + SILENCE_S) == f"Ray's head (GCS) has not answered for {SILENCE_S:g} s"


def test_a_node_that_the_head_has_lost_is_given_up_and_another_one_is_not(health):
    health.take_answer([NODES[0], NODES[1] | {"Alive": False}])
    assert health.judge(0.0) is None
    health.take_answer([NODES[0] | {"Alive": False}, NODES[1]])
    assert health.judge(0.0) == "Ray's process on this node (raylet) hangs or has died"


def test_a_node_that_the_head_does_not_know_yet_is_not_given_up(health):
    health.take_answer([])
    assert health.judge(0.0) is None


def test_time_in_which_this_process_stood_still_is_no_silence_of_the_head(health):
    health.ask(0.0)
    assert health.judge(1.0) is None
    assert health.judge(500.0) is None
    assert all(health.judge(500.0 + second) is None for second in range(1, int(SILENCE_S) - 5))
    assert health.judge(500.0 + SILENCE_S) is not None
