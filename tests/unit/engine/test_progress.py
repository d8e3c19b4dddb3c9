"""What a running job says of itself: sums that agree with the rows, and survive the death of a coordinator."""

import random
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import ScoreWork
from pipeline.engine.progress import Progress, Tally
from pipeline.failures import Failure, FailureClass
from tests.unit.engine.fakes import World, make_config, make_tasks

STAGES = tuple(asdict(StageSeconds()))


def fail_sometimes(rng):
    """Pieces of work fail now and then, in ways that are tried again."""

    def fail(worker, work):
        if rng.random() < 0.05:
            return Failure(failure_class=FailureClass.INTERNAL, message="bad luck")
        return None

    return fail


@pytest.mark.parametrize("method", ["adapttoken", "adapttoken-lite"])
@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=10)
def test_at_the_end_all_sums_agree_with_the_rows(method, seed):
    rng = random.Random(seed)
    world = World(
        make_config(method), make_tasks(num_videos=3, num_questions=3), num_scorers=2, fail=fail_sometimes(rng)
    )
    rows = world.run(rng)
    progress = world.state.progress
    assert (progress.num_videos_done, progress.num_questions_done, progress.num_videos_in_flight) == (3, 9, 0)
    assert progress.num_questions_failed == sum(row.status == "failed" for row in rows)
    assert progress.num_questions_stopped == sum(row.stop_reason == "confident" for row in rows)
    redone = {row.video: row.attempts - 1 for row in rows}
    assert progress.num_redone == sum(redone.values())
    for stage in STAGES:
        assert getattr(progress.stage_seconds, stage) == pytest.approx(sum(getattr(row, stage) for row in rows))
    assert (progress.num_scorers, progress.num_answerers, progress.num_decoders) == (2, 0, 1)
    assert (progress.open_share, progress.frame_bytes, progress.candidate_bytes, progress.num_groups_ready) == (0,) * 4


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=10)
def test_on_the_way_sums_of_an_undisturbed_job_only_grow(seed):
    rng = random.Random(seed)
    world = World(make_config("adapttoken-lite"), make_tasks(num_videos=2, num_questions=2), num_scorers=2)
    before, seen_open = world.state.progress, 0.0
    while not world.state.is_finished:
        world.step(rng.choice(sorted(world.doing)))
        now = world.state.progress
        for name in ("num_videos_done", "num_questions_done", "num_questions_stopped", "num_groups_scored"):
            assert getattr(now, name) >= getattr(before, name)
        assert now.device_s >= before.device_s
        assert 0 <= now.open_share <= now.num_questions - now.num_questions_done
        assert now.num_videos_in_flight == len(world.state._flow.videos)
        before, seen_open = now, max(seen_open, now.open_share)
    assert seen_open > 0


def test_device_seconds_are_those_of_the_models_processes():
    spent = StageSeconds(decode_s=1, encode_s=2, prefill_s=4, score_s=8, scorer_wait_s=16, answer_s=32)
    counts = dict.fromkeys(("num_videos", "num_videos_done", "num_questions", "num_questions_done"), 0)
    progress = Progress(**counts, num_groups_scored=0, num_groups_planned=0, stage_seconds=spent)
    assert progress.device_s == 2 + 4 + 8 + 32


def test_when_a_coordinator_dies_its_ended_videos_stay_and_the_rest_starts_over():
    config, tasks = make_config(), make_tasks(num_videos=3, num_questions=2)
    first = World(config, tasks)
    while not first.rows or not any(isinstance(work, ScoreWork) for work in first.doing["scorer-0"]):
        first.step("decoder-0")
        first.step("scorer-0")
    died = first.state.progress
    assert (died.ended.num_videos_done, died.ended.num_questions_done) == (1, 2)
    assert died.num_groups_scored >= died.ended.num_groups_scored == 13
    left = [task for task in tasks if task.video_id not in first.finished_order]
    second = World(config, left)
    start = second.state.progress.continue_after(died.ended)
    assert (start.num_videos, start.num_videos_done, start.num_questions, start.num_questions_done) == (3, 1, 6, 2)
    assert start.num_groups_scored == 13
    second.run()
    end = second.state.progress.continue_after(died.ended)
    assert (end.num_videos, end.num_videos_done, end.num_questions_done) == (3, 3, 6)
    assert end.num_groups_scored == end.num_groups_planned == 3 * 13
    assert end.ended == died.ended + second.state.progress.ended
    assert end.ended.stage_seconds == end.stage_seconds


def test_an_untouched_tally_changes_nothing():
    world = World(make_config(), make_tasks())
    world.run()
    progress = world.state.progress
    assert progress.continue_after(Tally()) == progress
