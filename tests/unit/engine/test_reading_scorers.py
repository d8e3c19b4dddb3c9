"""With ``nvdec`` scorers read what they score: what they tell of that counts as if a decoder had told it."""

import random
from dataclasses import replace

import pytest

from pipeline.engine.messages.work import DecodeDone, DecodeWork, ScoreWork
from pipeline.failures import READING, RETRYABLE, Failure, FailureClass
from tests.unit.engine.fakes import World, make_config, make_tasks, stable
from tests.unit.engine.test_failures import failing
from tests.unit.engine.test_weather import READING as READERS
from tests.unit.engine.test_weather import make_world, undisturbed


def nvdec(config):
    return replace(config, sampling=replace(config.sampling, decoder="nvdec"))


class ReadingScorers(World):
    """Decoders leave the frames as they are; a scorer tells with each group which of its own are bad."""

    def _do(self, worker, work):
        done, seconds = super()._do(worker, work)
        if isinstance(work, DecodeWork):
            done = replace(done, decoder="", num_frames_decoded=0, bad_frames=())
        if isinstance(work, ScoreWork):
            shown = {int(frame) for patch in work.group.patches for frame in (2 * patch, 2 * patch + 1)}
            bad = tuple(sorted(shown & self.bad_frames))
            read = DecodeDone(bundles={}, decoder="fake", num_frames_decoded=len(shown), bad_frames=bad)
            done = done._replace(read=read)
        return done, seconds


@pytest.mark.parametrize("method", ["adapttoken", "adapttoken-lite"])
@pytest.mark.parametrize("bad_frames", [(), (3, 40), range(10, 20)], ids=["none", "some", "too-many"])
def test_lost_frames_that_scorers_tell_of_weigh_as_those_of_decoders(method, bad_frames):
    tasks, bad_frames = make_tasks(num_videos=2), frozenset(bad_frames)
    expected = World(make_config(method), tasks, bad_frames=bad_frames).run()
    rows = ReadingScorers(nvdec(make_config(method)), tasks, bad_frames=bad_frames, num_scorers=2).run(random.Random(2))
    costs = ("decoder", "num_groups_scored", "error_message") if len(bad_frames) > 2 else ()
    assert [_but(costs, row) for row in rows] == [_but(costs, row) for row in expected]
    assert {row.status for row in rows} == ({"failed"} if len(bad_frames) > 2 else {"ok"})
    assert len(bad_frames) != 2 or any("damaged or lost" in note for row in rows for note in row.warnings)


def _but(names, row):
    return {name: value for name, value in stable(row).items() if name not in names}


@pytest.mark.parametrize("failure_class", sorted(READING - RETRYABLE))
def test_a_video_that_a_scorer_cannot_read_fails_at_once_and_none_of_its_questions_is_suspected(failure_class):
    config, tasks = nvdec(make_config()), make_tasks(num_videos=2)
    rows = World(config, tasks, fail=failing(failure_class, ScoreWork)).run(random.Random(1))
    bad, good = ([row for row in rows if row.video == f"v{video}"] for video in (0, 1))
    assert [(row.error_class, row.error_message, row.attempts) for row in bad] == [(failure_class, "on purpose", 1)] * 2
    assert [row.status for row in good] == ["ok", "ok"]


def test_a_scorer_that_cannot_decode_in_time_is_believed_after_three_tries():
    fail = failing(FailureClass.DECODE_TIMEOUT, ScoreWork)
    rows = World(nvdec(make_config()), make_tasks(num_videos=2), fail=fail).run(random.Random(1))
    assert {(row.error_class, row.attempts) for row in rows if row.video == "v0"} == {("decode_timeout", 3)}


def test_a_storage_that_is_away_while_scorers_read_is_waited_for():
    config, tasks, box = nvdec(make_config()), make_tasks(num_videos=6), []

    def fail(worker, work):
        is_away = isinstance(work, (*READERS, ScoreWork)) and 12.0 <= box[0].now_s < 500.0
        return Failure(failure_class=FailureClass.TRANSFER, message="503") if is_away else None

    world = make_world(config, tasks, fail, box, num_scorers=2)
    assert [stable(row) for row in world.run(random.Random(1))] == undisturbed(config, tasks)


def readers_of(config, *, num_videos):
    """Video -> scorers that were given groups of it, of which each would decode it."""
    world, found = World(config, make_tasks(num_videos=num_videos), num_scorers=2), {}
    rng = random.Random(4)
    while not world.state.is_finished:
        worker = rng.choice(sorted(world.doing))
        world.step(worker)
        for work in world.doing[worker]:
            if isinstance(work, ScoreWork):
                found.setdefault(work.key.video_id, set()).add(worker)
    return [len(readers) for _, readers in sorted(found.items())]


def test_a_video_is_scored_where_it_is_decoded_as_long_as_others_keep_the_other_scorers_busy():
    config = make_config(videos_in_flight=4)
    assert sum(readers_of(config, num_videos=6)) > 9
    assert sum(readers_of(nvdec(config), num_videos=6)) <= 7  # the last one may be shared
    assert readers_of(nvdec(config), num_videos=1) == [2], "nobody idles"


def test_while_one_video_is_scored_the_next_is_decoded_where_it_will_be_scored():
    config = nvdec(make_config(videos_in_flight=4))
    world, promised, first = World(config, make_tasks(num_videos=6), num_scorers=2), {}, {}
    exchange, rng = world.state.exchange, random.Random(4)

    def noting(worker, completions):
        batch = exchange(worker, completions)
        for ahead in batch.ahead:
            assert ahead.video_id not in promised | first, "one scorer begins, before anybody scores"
            assert all(ahead.position in bundle for bundle in ahead.frames)
            promised[ahead.video_id] = worker
        for work in batch.work:
            if isinstance(work, ScoreWork):
                first.setdefault(work.key.video_id, worker)
        return batch

    world.state.exchange = noting
    rows = world.run(rng)
    assert [stable(row) for row in rows] == undisturbed(make_config(), make_tasks(num_videos=6))
    assert len(promised) >= 3
    kept = [first[video_id] == worker for video_id, worker in promised.items()]
    assert kept.count(False) <= 1, "only where another scorer would have idled"


def test_without_nvdec_nothing_is_begun_ahead():
    world = World(make_config(videos_in_flight=4), make_tasks(num_videos=4))
    exchange, seen = world.state.exchange, []
    world.state.exchange = lambda *call: seen.append(exchange(*call)) or seen[-1]
    world.run(random.Random(4))
    assert {batch.ahead for batch in seen} == {()}
