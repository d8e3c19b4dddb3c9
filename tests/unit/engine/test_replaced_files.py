"""A video's file is replaced while it is read: the version that was planned is the version that is answered."""

import random
from dataclasses import replace

import pytest

from pipeline.engine.messages.work import DecodeWork, ProbeWork
from pipeline.engine.one_video.faults import MOST_RESTARTS
from pipeline.failures import Failure, FailureClass
from pipeline.results.keys import question_keys
from tests.unit.engine.fakes import STAMP, World, make_config, make_tasks, stable


def tasks_with_keys(fingerprint="f", **counts):
    """One question of each video is asked twice, which makes two keys."""
    tasks = []
    for task in make_tasks(**counts):
        questions = (*task.questions, replace(task.questions[0], question_id=f"{task.uri}-again"))
        keys = question_keys(questions, fingerprint=fingerprint, config_hash=STAMP.config_hash)
        tasks.append(replace(task, fingerprint=fingerprint, questions=questions, question_keys=tuple(keys)))
    return tasks


class Upload:
    """Puts versions of video 0 in place of another, one each time that so many pieces of it have been read."""

    def __init__(self, *versions, after):
        self.versions, self.after, self.num_read = [*versions], after, 0
        self.there = "f"

    def fail(self, worker, work):
        if not isinstance(work, ProbeWork | DecodeWork) or work.key.video_id != 0:
            return None
        if self.versions and self.num_read >= self.after:
            self.there, self.num_read = self.versions.pop(0), 0
        self.num_read += 1
        if work.fingerprint == self.there:
            return None
        return Failure(failure_class=FailureClass.TRANSFER, message="v0 was replaced", found=self.there)


@pytest.mark.parametrize("method", ["adapttoken", "adapttoken-lite"])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_it_starts_over_under_its_new_key_and_nothing_of_the_old_one_is_used(method, after):
    config = make_config(method, num_decoders=3, frame_buffer_bytes=64 * 28 * 28 * 3)
    of_f, of_g = [[*map(stable, World(config, tasks_with_keys(fp, num_videos=2)).run())] for fp in "fg"]
    expected = [row for row in of_g if row["video"] == "v0"] + [row for row in of_f if row["video"] == "v1"]
    for seed in range(2):
        upload = Upload("g", after=after)
        world = World(config, tasks_with_keys(num_videos=2), num_scorers=2, num_decoders=3, fail=upload.fail)
        assert [*map(stable, world.run(random.Random(seed)))] == expected
        assert all(len(versions) == 1 for versions in world.versions.values())
        assert world.versions[max(key for key in world.versions if key[0] == 0)] == {"g"}
        for worker in [*world.doing]:
            world.step(worker)
        assert not any(world.held.values()), "candidates of the version that is gone are dropped, too"


def test_a_file_that_is_replaced_again_and_again_fails_as_what_it_is_and_alone():
    versions = [f"g{number}" for number in range(MOST_RESTARTS + 1)]
    upload = Upload(*versions, after=1)
    world = World(make_config(max_attempts=2), tasks_with_keys(num_videos=2), num_decoders=2, fail=upload.fail)
    failed, answered = [[row for row in world.run() if row.video == video] for video in ("v0", "v1")]
    assert {(row.status, row.error_class) for row in failed} == {("failed", FailureClass.TRANSFER)}
    assert {row.status for row in answered} == {"ok"}
    assert {row.video_fingerprint for row in failed} == {versions[MOST_RESTARTS - 1]}


def test_a_replaced_file_is_no_outage_of_the_storage():
    def fail(worker, work):
        if isinstance(work, ProbeWork) and work.fingerprint == "f":
            return Failure(failure_class=FailureClass.TRANSFER, message="replaced", found="g")
        return None

    world = World(make_config(max_attempts=1), tasks_with_keys(num_videos=6), num_decoders=2, fail=fail)
    assert {(row.status, row.video_fingerprint) for row in world.run()} == {("ok", "g")}
    assert world.state.outage is None
