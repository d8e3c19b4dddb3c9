"""Circumstances are no verdict: what fails because of them waits, is tried again, and ends as if nothing had been."""

import random
from dataclasses import replace

import pytest

from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import Completion, DecodeWork, ProbeWork, ScoreWork
from pipeline.engine.one_video.tries import LONGEST_REST_S, Rest, Tries
from pipeline.engine.outage import VIDEOS_IN_A_ROW, Outage
from pipeline.failures import STORAGE, Failure, FailureClass
from pipeline.settings.sources import ReadingConfig
from tests.unit.engine.fakes import World, make_config, make_probe, make_tasks, stable

READING = (ProbeWork, DecodeWork)


def away(failure_class, *, from_s, until_s):
    """The storage fails for every video between two times of a world; returns its ``fail``, and a box for it."""
    box = []

    def fail(worker, work):
        if isinstance(work, READING) and from_s <= box[0].now_s < until_s:
            return Failure(failure_class=failure_class, message=f"{work.uri} is away")
        return None

    return fail, box


def make_world(config, tasks, fail, box, **options):
    box.append(World(config, tasks, fail=fail, **options))
    return box[0]


def with_outage(config, outage_s):
    return replace(config, reading=ReadingConfig(outage_s=outage_s))


def undisturbed(config, tasks):
    return [stable(row) for row in World(config, tasks).run()]


@pytest.mark.parametrize("failure_class", sorted(STORAGE))
@pytest.mark.parametrize("num_videos", [1, 2, 6])
def test_a_storage_that_is_away_for_two_seconds_fails_nothing(failure_class, num_videos):
    config, tasks = make_config(), make_tasks(num_videos=num_videos)
    for from_s in (0.0, 3.0):
        world = make_world(config, tasks, *away(failure_class, from_s=from_s, until_s=from_s + 2.0))
        assert [stable(row) for row in world.run(random.Random(1))] == undisturbed(config, tasks)


def test_what_failed_is_handed_out_again_only_when_it_has_rested():
    state = World(make_config(), make_tasks()).state
    failure = Failure(failure_class=FailureClass.TRANSFER, message="503")
    now_s, pauses_s = 100.0, []
    state.tell_time(now_s)
    worker, others = "decoder-0", ["decoder-1"]
    [work] = state.exchange(worker, ()).work
    for _ in range(4):
        assert state.exchange(worker, [Completion(key=work.key, result=failure)]).work == ()
        due_s = state.wakes_at_s
        assert not state.tell_time(due_s - 0.01)
        assert not any(state.exchange(name, ()).work for name in (worker, *others))
        assert state.tell_time(due_s)
        pauses_s.append(due_s - now_s)
        now_s = due_s
        given = {name: state.exchange(name, ()).work for name in (*others, worker)}
        [(worker, [work])] = [(name, list(batch)) for name, batch in given.items() if batch]
        others = [name for name in given if name != worker]
    assert pauses_s == [1.0, 2.0, 4.0, 8.0]


def test_a_pause_doubles_up_to_a_minute_and_what_fails_during_it_does_not_lengthen_it():
    rest, pauses_s, now_s = Rest(), [], 0.0
    for _ in range(9):
        rest.begin(now_s)
        rest.begin(now_s + 0.5)
        pauses_s.append(rest.until_s - now_s)
        now_s = rest.until_s
    assert pauses_s == [1, 2, 4, 8, 16, 32, LONGEST_REST_S, LONGEST_REST_S, LONGEST_REST_S]
    rest.end()
    rest.begin(now_s)
    assert rest.until_s == now_s + 1.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("failure_class", sorted(STORAGE))
def test_an_outage_of_minutes_burns_nothing_and_begins_few_videos(failure_class, seed):
    config, tasks = make_config(max_attempts=2), make_tasks(num_videos=40)
    world = make_world(config, tasks, *away(failure_class, from_s=10.0, until_s=310.0), num_decoders=2)
    met = set()
    rng = random.Random(seed)
    while not world.state.is_finished:
        world.step(rng.choice(sorted(world.doing)))
        if 10.0 <= world.now_s < 310.0:
            met |= {work.key.video_id for _, work in world.done[-3:] if isinstance(work, ProbeWork)}
    rows = sorted(world.rows, key=lambda row: row.question_id)
    expected = [stable(row) for row in sorted(World(config, tasks).run(), key=lambda row: row.question_id)]
    assert [stable(row) for row in rows] == expected
    assert len(met) < 25, "intake goes on as if nothing were the matter"


def test_what_has_been_read_is_answered_during_an_outage():
    config, tasks = make_config(max_attempts=2), make_tasks(num_videos=9)
    world = make_world(config, tasks, *away(FailureClass.TRANSFER, from_s=12.0, until_s=500.0), num_scorers=2)
    rng = random.Random(5)
    while world.now_s < 450.0:
        world.step(rng.choice(sorted(world.doing)))
    assert {row.status for row in world.rows} == {"ok"}
    assert set(world.state._flow.videos) <= world.state._dispatcher.outage.hit


def test_an_outage_that_lasts_ends_the_job_with_what_to_do_and_without_a_failed_row():
    config, tasks = with_outage(make_config(max_attempts=2), 60.0), make_tasks(num_videos=9)
    world = make_world(config, tasks, *away(FailureClass.TRANSFER, from_s=0.0, until_s=1e9))
    rng = random.Random(5)
    while world.state.outage is None:
        world.step(rng.choice(sorted(world.doing)))
        assert world.now_s < 90.0
    assert world.rows == []
    message = world.state.outage.message
    for words in ("away for 6", "videos in a row cannot be read", "is away", "the same command", "reading.outage_s"):
        assert words in message


def test_without_patience_every_video_fails_on_its_own():
    config, tasks = with_outage(make_config(max_attempts=2), 0.0), make_tasks(num_videos=5)
    world = make_world(config, tasks, *away(FailureClass.ACCESS_DENIED, from_s=0.0, until_s=1e9))
    assert {row.error_class for row in world.run()} == {"access_denied"}


@pytest.mark.parametrize("denied", [{0, 1, 2}, {3, 4, 5, 6, 7}, {0, 19}, {17, 18, 19}, set(range(12))])
def test_videos_that_nobody_may_read_fail_while_the_others_are_answered(denied):
    config, tasks = make_config(max_attempts=3), make_tasks(num_videos=20)

    def fail(worker, work):
        is_hit = isinstance(work, READING) and work.key.video_id in denied
        return Failure(failure_class=FailureClass.ACCESS_DENIED, message="denied") if is_hit else None

    world, rng = World(config, tasks, fail=fail, num_decoders=2), random.Random(3)
    while not world.state.is_finished and world.state.outage is None:
        world.step(rng.choice(sorted(world.doing)))
    failed = {row.video for row in world.rows if row.status == "failed"}
    answered = {row.video for row in world.rows if row.status == "ok"}
    assert answered == {f"v{video}" for video in set(range(20)) - denied}
    if world.state.is_finished:
        assert failed == {f"v{video}" for video in denied}
    else:
        assert denied == {17, 18, 19}, "nothing is left that could tell them from an outage"


@pytest.mark.parametrize("num_questions", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_kills_that_no_question_causes_fail_none_at_default_attempts(num_questions, seed):
    config, tasks = make_config(), make_tasks(num_videos=3, num_questions=num_questions)
    world, rng, num_kills = World(config, tasks, num_scorers=2, num_decoders=2), random.Random(seed), 0
    while not world.state.is_finished:
        worker = rng.choice(sorted(world.doing))
        if world.doing[worker] and num_kills < 40 and rng.random() < 0.3:
            num_kills += 1
            world.lose(worker, successor=f"{worker.partition('-')[0]}-{10 + num_kills}")
        else:
            world.step(worker)
    assert num_kills == 40
    rows = sorted(world.rows, key=lambda row: row.question_id)
    assert [stable(row) for row in rows] == undisturbed(config, tasks)


@pytest.mark.parametrize("num_questions", [1, 2])
def test_five_kills_of_whoever_scores_the_same_group_fail_nothing_at_default_attempts(num_questions):
    config, tasks = make_config(), make_tasks(num_questions=num_questions)
    world, num_kills = World(config, tasks), 0
    while not world.state.is_finished:
        for worker in sorted(world.doing):
            if num_kills < 5 and any(isinstance(work, ScoreWork) for work in world.doing[worker]):
                num_kills += 1
                world.lose(worker, successor=f"scorer-{10 + num_kills}")
            else:
                world.step(worker)
    assert num_kills == 5
    assert {row.status for row in world.rows} == {"ok"}


def test_a_node_that_goes_with_all_readers_of_a_video_is_one_failure():
    config = make_config(max_attempts=2, num_decoders=8)
    tasks, probes = make_tasks(), {"v0": make_probe(400, gop=1)}
    world = World(config, tasks, probes=probes, num_decoders=8)
    world.step("decoder-0")
    for worker in sorted(world.doing):
        world.step(worker)
    reading = [name for name, work in world.doing.items() if any(isinstance(piece, DecodeWork) for piece in work)]
    assert len(reading) > 2
    for number, worker in enumerate(reading):
        world.lose(worker, successor=f"decoder-{20 + number}")
    assert {row.status for row in world.run()} == {"ok"}


def test_a_group_that_kills_whoever_scores_it_is_found_though_all_others_are_scored():
    config, tasks = make_config(max_attempts=3), make_tasks(num_videos=2)
    world, rng, num_deaths = World(config, tasks, num_scorers=3), random.Random(2), 0
    while not world.state.is_finished:
        worker = rng.choice(sorted(world.doing))
        if any(isinstance(w, ScoreWork) and (w.key.video_id, w.key.index) == (0, 5) for w in world.doing[worker]):
            num_deaths += 1
            assert num_deaths < 20
            world.lose(worker, successor=f"scorer-{10 + num_deaths}")
        else:
            world.step(worker)
    statuses = {row.question_id: row.status for row in world.rows}
    assert statuses == {"v0q0": "failed", "v0q1": "failed", "v1q0": "ok", "v1q1": "ok"}


def key(index, turn):
    return WorkKey(video_id=0, attempt=1, stage=Stage.SCORE, index=index, turn=turn)


def test_a_piece_that_is_done_clears_itself_and_the_row_but_no_other_piece():
    tries = Tries()
    assert [tries.note(key(5, turn), last_turn=turn) for turn in (1, 2)] == [1, 2]
    tries.clear(key(6, 3))
    assert tries.note(key(7, 4), last_turn=4) == 1
    assert tries.note(key(5, 5), last_turn=5) == 3
    tries.clear(key(5, 6))
    assert tries.note(key(5, 7), last_turn=7) == 1


def hit(outage, *videos, has_others=True, failure_class=FailureClass.TRANSFER):
    failure = Failure(failure_class=failure_class, message="503")
    return [outage.note_failure(video, failure, now_s=1.0, has_others=has_others) for video in videos]


def test_an_outage_is_told_by_different_videos_in_a_row():
    outage = Outage(patience_s=60.0)
    hit(outage, 0, 0, 0, 1)
    outage.note_reading(9, is_probe=False)
    assert not outage.is_on
    hit(outage, 2)
    assert outage.is_on
    assert len(outage.hit) == VIDEOS_IN_A_ROW
    assert [outage.may_try(now_s) for now_s in (5.0, 31.0, 32.0, 62.0)] == [False, True, False, True]


@pytest.mark.parametrize("videos", [(0,), (0, 1, 2, 3)])
def test_a_failure_counts_once_another_video_could_be_read_until_its_own_can(videos):
    outage = Outage(patience_s=60.0)
    assert all(hit(outage, *videos))
    outage.note_reading(7, is_probe=True)
    assert not outage.is_on
    assert not any(hit(outage, *videos))
    assert hit(outage, 5) == [True]
    outage.note_reading(videos[0], is_probe=False)
    assert hit(outage, videos[0]) == [True]


@pytest.mark.parametrize(
    ("failure_class", "are_outage"), [("not_found", [0, 0, 1]), ("access_denied", [0, 0, 1]), ("transfer", [0, 1, 1])]
)
def test_the_last_videos_of_a_job_answer_for_themselves_unless_the_storage_is_mute(failure_class, are_outage):
    outage = Outage(patience_s=60.0)
    assert hit(outage, 0, 1, 2, has_others=False, failure_class=FailureClass(failure_class)) == are_outage


def test_three_videos_of_which_two_meet_minutes_of_503_lose_nothing():
    config, tasks = make_config(), make_tasks(num_videos=3, num_questions=4)
    world = make_world(config, tasks, *away(FailureClass.TRANSFER, from_s=1.0, until_s=400.0))
    rows = world.run(random.Random(4))
    assert [stable(row) for row in rows] == undisturbed(config, tasks)


def test_a_video_that_was_hit_and_can_be_read_again_ends_the_outage():
    outage = Outage(patience_s=60.0)
    hit(outage, 0, 1, 2)
    outage.note_reading(1, is_probe=False)
    assert (outage.is_on, outage.hit, outage.singled_out) == (False, set(), set())
