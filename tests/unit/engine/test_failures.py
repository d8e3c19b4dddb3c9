"""Failures are rows: each hits what it must, is tried again where that can help, and leaves the rest alone."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import (
    AnswerWork,
    Completion,
    DecodeWork,
    GatherWork,
    ProbeWork,
    ScoreDone,
    ScoreWork,
)
from pipeline.failures import RETRYABLE, Failure, FailureClass
from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.registry import SELECTORS
from pipeline.results.demo_warning import DEMO_MODEL_WARNING
from tests.unit.engine.fakes import STAMP, World, make_config, make_probe, make_tasks, stable

FINAL = sorted(set(FailureClass) - RETRYABLE)


def failing(failure_class, kind, *, video_id=0, times=10**9, index=None):
    """The first tries at a kind of work of one video fail."""
    left = [times]

    def fail(worker, work):
        is_hit = isinstance(work, kind) and work.key.video_id == video_id and (index is None or work.key.index == index)
        if is_hit and left[0]:
            left[0] -= 1
            return Failure(failure_class=failure_class, message="on purpose")
        return None

    return fail


def rows_by_video(world, seed=1):
    rows = world.run(random.Random(seed))
    return [[row for row in rows if row.video == f"v{video}"] for video in (0, 1)]


@pytest.mark.parametrize("failure_class", FINAL)
def test_what_no_retry_can_mend_fails_the_videos_questions_at_once(failure_class):
    world = World(make_config(), make_tasks(num_videos=2), fail=failing(failure_class, ProbeWork))
    bad, good = rows_by_video(world)
    assert [(row.status, row.error_class, row.attempts) for row in bad] == [("failed", failure_class, 1)] * 2
    assert [row.error_message for row in bad] == ["on purpose"] * 2
    assert [row.status for row in good] == ["ok", "ok"]


@pytest.mark.parametrize("kind", [ProbeWork, DecodeWork, ScoreWork, GatherWork, AnswerWork])
@pytest.mark.parametrize("failure_class", sorted(RETRYABLE - {FailureClass.WORKER_LOST}))
def test_what_a_retry_can_mend_starts_over_and_ends_like_an_undisturbed_run(kind, failure_class):
    tasks = make_tasks(num_videos=2)
    fail = failing(failure_class, kind, times=2)
    world = World(make_config(max_attempts=3), tasks, fail=fail)
    rows = world.run(random.Random(3))
    expected = World(make_config(), tasks).run()
    if failure_class is FailureClass.OUT_OF_MEMORY and kind in (ScoreWork, AnswerWork, GatherWork):
        assert max(row.memory_rung for row in rows if row.video == "v0") == (2 if kind is ScoreWork else 1)
        rows = [replace(row, memory_rung=0) for row in rows]
    assert [stable(row) for row in rows] == [stable(row) for row in expected]
    assert {row.attempts for row in rows if row.video == "v0"} == {3}
    assert {row.attempts for row in rows if row.video == "v1"} == {1}


@pytest.mark.parametrize(
    ("kind", "attempts"),  # groups: twice together, then each question once alone; gathers: each question twice
    [(ProbeWork, 2), (DecodeWork, 2), (ScoreWork, 3), (GatherWork, 3)],
)
def test_after_max_attempts_the_failure_stands(kind, attempts):
    fail = failing(FailureClass.INTERNAL, kind)
    bad, good = rows_by_video(World(make_config(max_attempts=2), make_tasks(num_videos=2), fail=fail))
    assert [(row.status, row.error_class, row.attempts) for row in bad] == [("failed", "internal", attempts)] * 2
    assert [row.status for row in good] == ["ok", "ok"]


@pytest.mark.parametrize(("failure_class", "attempts"), [(FailureClass.MODEL, 1), (FailureClass.OUT_OF_MEMORY, 4)])
def test_a_final_pass_that_fails_for_good_takes_one_question_with_it(failure_class, attempts):
    fail = failing(failure_class, AnswerWork, index=1)
    rows = World(make_config(), make_tasks(num_questions=3), fail=fail).run()
    assert [row.status for row in rows] == ["ok", "failed", "ok"]
    assert (rows[1].error_class, rows[1].attempts) == (failure_class, attempts)
    assert rows[1].total_s == pytest.approx(rows[0].total_s - 2.0)  # all but its final pass


@given(seed=st.integers(0, 2**32), victims=st.lists(st.sampled_from(["scorer", "decoder"]), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_lost_workers_lose_nothing(seed, victims):
    tasks, rng = make_tasks(num_videos=3), random.Random(seed)
    config = make_config("adapttoken-lite", max_attempts=5, videos_in_flight=2)
    world = World(config, tasks, num_scorers=2, num_decoders=2)
    for number, role in enumerate(victims):
        for _ in range(rng.randrange(30)):
            if not world.state.is_finished:
                world.step(rng.choice(sorted(world.doing)))
        victim = rng.choice([name for name in sorted(world.doing) if name.startswith(role)])
        world.lose(victim, successor=f"{role}-{10 + number}")
    rows = world.run(rng)
    assert [stable(row) for row in rows] == [stable(row) for row in World(config, tasks).run()]


def test_a_call_that_outlives_its_worker_gets_no_work():
    world = World(make_config(), make_tasks())
    world.state.exchange("decoder-0", ())
    world.state.lose_worker("decoder-0")
    zombie = world.state.exchange("decoder-0", ())
    assert (zombie.work, zombie.is_finished) == ((), True)
    successor = world.state.exchange("decoder-9", ())
    assert isinstance(successor.work[0], ProbeWork)


def test_a_video_that_kills_every_reader_fails_alone():
    config = make_config(max_attempts=3, videos_in_flight=2)
    world = World(config, make_tasks(num_videos=3), num_scorers=2, num_decoders=2)
    rng, deaths = random.Random(8), 0
    while not world.state.is_finished:
        worker = rng.choice(sorted(world.doing))
        if any(isinstance(work, DecodeWork) and work.key.video_id == 0 for work in world.doing[worker]):
            deaths += 1
            world.lose(worker, successor=f"decoder-{10 + deaths}")
        else:
            world.step(worker)
    rows = sorted(world.rows, key=lambda row: row.question_id)
    assert [row.status for row in rows] == ["failed"] * 2 + ["ok"] * 4
    assert {row.error_class for row in rows[:2]} == {"worker_lost"}
    assert deaths == 3


def test_a_reader_killed_for_hanging_fails_its_video_with_the_reason_given():
    world = World(make_config(max_attempts=1), make_tasks())
    world.step("decoder-0")
    reason = Failure(failure_class=FailureClass.DECODE_TIMEOUT, message="too slow")
    world.lose("decoder-0", successor="decoder-1", failure=reason)
    assert [(row.error_class, row.error_message) for row in world.run()] == [("decode_timeout", "too slow")] * 2


def test_results_of_an_abandoned_attempt_are_ignored():
    world = World(make_config(), make_tasks(num_questions=1))
    while not (planned := next((video.planned for video in world.state._flow.videos.values()), None)) or not (
        planned.round.holder
    ):
        world.step("decoder-0")
        world.step("scorer-0")
    before = world.state.progress
    stale = WorkKey(video_id=0, attempt=0, stage=Stage.SCORE, index=5)
    for result in (ScoreDone(scores={}, was_prefilled=True), Failure(failure_class=FailureClass.MODEL, message="old")):
        world.doing["scorer-0"] += world.state.exchange("scorer-0", [Completion(key=stale, result=result)]).work
        assert world.state.progress == before
    reference = World(make_config(), make_tasks(num_questions=1)).run()
    assert [stable(row) for row in world.run()] == [stable(row) for row in reference]


@pytest.mark.parametrize("method", ["adapttoken", "adapttoken-lite"])
def test_a_few_lost_frames_are_a_warning_and_too_many_fail_the_video(method):
    def run(bad_frames):
        tasks = make_tasks(num_videos=1)
        return World(make_config(method, stop_entropy=0), tasks, bad_frames=frozenset(bad_frames)).run()

    few = run({3, 4, 60})
    assert [row.status for row in few] == ["ok", "ok"]
    assert few[0].warnings == ("3 of 100 wanted frames are damaged or lost; patched-up or neighbouring ones stand in",)
    many = run(range(6))
    assert [(row.status, row.error_class) for row in many] == [("failed", "corrupt_media")] * 2
    assert "6 of 100 wanted frames" in many[0].error_message


@given(seed=st.integers(0, 2**32), bad=st.frozensets(st.integers(0, 199), max_size=14))
@settings(deadline=None, max_examples=20)
def test_lost_frames_count_for_a_question_only_in_the_groups_that_count(seed, bad):
    config = make_config("adapttoken-lite", num_decoders=3)
    tasks, probes = make_tasks(num_questions=3), {"v0": make_probe(200, gop=1)}
    world = World(config, tasks, probes=probes, bad_frames=bad, num_scorers=3, num_decoders=3)
    rows = world.run(random.Random(seed))
    reference = World(config, tasks, probes=probes, bad_frames=bad).run()
    assert [stable(row) for row in rows] == [stable(row) for row in reference]


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize(("is_demo_model", "is_demo_video", "is_warned"), [(1, 0, 1), (1, 1, 0), (0, 0, 0), (0, 1, 0)])
def test_the_demo_model_warns_about_each_video_that_was_not_made_here(seed, is_demo_model, is_demo_video, is_warned):
    probes = {"v0": make_probe(is_demo_video=bool(is_demo_video)), "v1": make_probe(is_demo_video=True)}
    stamp = replace(STAMP, is_demo_model=bool(is_demo_model))
    world = World(make_config(), make_tasks(num_videos=2), probes=probes, num_scorers=2, stamp=stamp)
    rows = world.run(None if seed is None else random.Random(seed))
    warned = (DEMO_MODEL_WARNING,) if is_warned else ()
    assert [row.warnings for row in rows] == [warned, warned, (), ()]


def test_a_damaged_video_that_the_demo_model_does_not_know_has_both_warnings():
    stamp = replace(STAMP, is_demo_model=True)
    rows = World(make_config(), make_tasks(), probes={"v0": make_probe(100, num_missing=2)}, stamp=stamp).run()
    assert [text[:20] for text in rows[0].warnings] == [DEMO_MODEL_WARNING[:20], "2 of 100 wanted fram"]


def test_what_was_mended_in_a_video_is_said_in_each_of_its_rows():
    probe = replace(make_probe(100), warnings=("its times start over once; the parts are laid end to end",))
    rows = World(make_config(), make_tasks(num_questions=2), probes={"v0": probe}).run()
    assert [row.status for row in rows] == ["ok", "ok"]
    assert {row.warnings for row in rows} == {
        ("video: its times start over once; the parts are laid end to end",),
    }


@pytest.mark.parametrize(("share", "is_warned"), [(None, False), (1.0, False), (0.5, False), (0.499, True), (0, True)])
def test_an_answer_whose_first_token_is_likelier_no_letter_is_a_warning(share, is_warned):
    (row,) = World(make_config(), make_tasks(num_questions=1), letter_share=share).run()
    assert (row.status, len(row.warnings)) == ("ok", int(is_warned))
    if is_warned:
        assert f"letters have {share:.1%} of the answer's first token" in row.warnings[0]


def test_frames_missing_at_the_end_of_the_file_are_a_warning():
    rows = World(make_config(), make_tasks(), probes={"v0": make_probe(100, num_missing=2)}).run()
    assert rows[0].status == "ok"
    assert rows[0].warnings[0].startswith("2 of 100 wanted frames")


def test_progress_counts_end_at_the_totals_even_after_a_restart():
    fail = failing(FailureClass.INTERNAL, AnswerWork, times=1, index=1)
    world = World(make_config(), make_tasks(num_videos=2, num_questions=3), fail=fail)
    world.run(random.Random(4))
    progress = world.state.progress
    assert (progress.num_videos_done, progress.num_questions_done) == (2, 6)
    assert progress.num_groups_planned == progress.num_groups_scored == 2 * 13


def test_a_selector_of_another_package_that_weighs_wrongly_fails_its_questions_and_not_the_job(monkeypatch):
    class Broken(AdaptToken):
        name = "broken"

        def weigh(self, probabilities, prefix, letters):
            return (2.0,) * len(letters)

    monkeypatch.setitem(SELECTORS, "broken", Broken())
    rows = World(make_config("broken", max_attempts=2), make_tasks(num_videos=2)).run(random.Random(1))
    assert {(row.status, row.error_class) for row in rows} == {("failed", "internal")}
    assert all("weigh of method 'broken' must return 2 probabilities" in row.error_message for row in rows)
