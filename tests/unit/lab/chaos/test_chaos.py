"""A short chaos campaign, and proof that it notices broken promises."""

import itertools
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from jobs.lab import chaos_state
from pipeline.engine import job_state
from pipeline.engine.mailbox import Mailbox
from pipeline.engine.one_video.planned import Planned
from pipeline.engine.patience import WorkerPatience
from pipeline.lab.chaos import case
from pipeline.lab.chaos.campaign import Campaign, run_campaign, run_case
from pipeline.lab.chaos.faults import CELLS, Fault, Kind, Moment
from pipeline.lab.chaos.jobs import draw_job
from pipeline.lab.chaos.worker import BrokenPromiseError
from pipeline.method.selectors.registry import get_selector
from tests.unit.engine.fakes import stable


def test_every_kind_of_fault_strikes_and_every_promise_is_kept():
    campaign = Campaign()
    for number in random.Random(11).sample(range(len(CELLS)), k=24):
        run_case(campaign, CELLS[number], random.Random(number), name=str(CELLS[number]))
    assert campaign.broken == []
    assert campaign.num_faults >= 40
    assert {stage for _, stage, _ in campaign.struck} == {"probe", "decode", "score", "gather", "answer"}


def test_the_command_prints_a_table_and_a_verdict(capsys):
    assert chaos_state.main(["--faults", "10", "--seed", "5"]) == 0
    printed = capsys.readouterr().out
    assert "worker dies" in printed
    assert "every promise kept" in printed


SCORER_DIES = Fault(kind=Kind.DEATH, stage="score", moment=Moment.REPORTED)


class Forgetful(dict):
    """Says that nothing need be kept, whatever it is told."""

    def __setitem__(self, position, limit):
        super().__setitem__(position, 0)


def keep_nothing(box, candidates):
    return box.retain.setdefault(candidates, Forgetful())


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [(Planned, "lose_worker", lambda planned, worker: False), (Mailbox, "limits_of", keep_nothing)],
    ids=["candidates of the dead are not made again", "tokens are dropped that will be bought"],
)
def test_a_broken_state_machine_is_found_out(monkeypatch, owner, name, broken):
    monkeypatch.setattr(owner, name, broken)
    monkeypatch.setattr(case, "_MOST_STEPS", 600)
    campaign = Campaign()
    with suppress(KeyError, BrokenPromiseError):  # the state machine itself may stumble over a dead worker
        for seed in range(6):
            run_case(campaign, SCORER_DIES, random.Random(seed), name="broken")
        assert campaign.broken


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("stage", ["decode", "score", "answer"])
def test_who_hangs_with_work_with_candidates_or_with_nothing_is_given_up_and_changes_no_row(stage, moment):
    campaign = Campaign()
    for seed in range(2):
        run_case(campaign, Fault(kind=Kind.HANG, stage=stage, moment=moment), random.Random(seed), name=str(seed))
    assert campaign.broken == []
    assert campaign.num_given_up >= campaign.struck[str(Kind.HANG), stage, moment] > 0


def test_a_hang_that_nobody_notices_is_found_out(monkeypatch):
    monkeypatch.setattr(WorkerPatience, "overdue", lambda patience, now_s: [])
    monkeypatch.setattr(case, "_MOST_STEPS", 3_000)
    campaign = Campaign()
    hang = Fault(kind=Kind.HANG, stage="score", moment=Moment.HANDED_OUT)
    for seed in range(4):
        run_case(campaign, hang, random.Random(seed), name=str(seed))
    assert any("stands still" in text for text in campaign.broken)


def test_work_for_a_worker_that_was_given_up_is_found_out(monkeypatch):
    forget = job_state.JobState.lose_worker

    def forgive(state, worker, failure=None):
        forget(state, worker, failure)
        state._lost.discard(worker)

    monkeypatch.setattr(job_state.JobState, "lose_worker", forgive)
    campaign = Campaign()
    late = Fault(kind=Kind.PRESUMED_DEAD, stage="score", moment=Moment.HANDED_OUT)
    for seed in range(8):
        with suppress(KeyError):  # the state machine itself may stumble over it
            run_case(campaign, late, random.Random(seed), name=str(seed))
    assert any("given up for lost was given work" in text for text in campaign.broken)


def sharded_jobs(num):
    jobs = (draw_job(random.Random(seed), max_attempts=1_000) for seed in itertools.count())
    several = (job for job in jobs if job.num_shards > 1 and len(job.tasks) > 2)
    return list(itertools.islice((job for job in several if min(job.num_frames) > 7), num))  # more than one group each


def test_rows_do_not_depend_on_the_shards_though_a_coordinator_of_one_is_replaced_and_workers_move():
    num_moves = 0
    for seed, job in enumerate(sharded_jobs(6)):
        plain = case.ChaosCase(replace(job, num_shards=1), random.Random(0)).run()
        dies = Fault(kind=Kind.COORDINATOR, stage="score", moment=Moment.DONE)
        disturbed = case.ChaosCase(job, random.Random(seed), [(dies, 2)])
        rows = disturbed.run()
        assert [fault for fault, _ in disturbed.strikes.struck] == [dies]
        assert {key: stable(row) for key, row in rows.items()} == {key: stable(row) for key, row in plain.items()}
        num_moves += disturbed.crew.num_moves
    assert num_moves > 0


def test_the_questions_of_a_job_differ_from_each_other_and_are_answered_differently():
    job = next(job for job in sharded_jobs(20) if get_selector(job.config.method).needs_final_pass)
    questions = [question for task in job.tasks for question in task.questions]
    assert len({(question.text, question.options) for question in questions}) == len(questions)
    rows = case.ChaosCase(replace(job, refused={}), random.Random(0)).run()
    assert len({row.answer_text for row in rows.values()}) == len(rows)


def test_the_same_seed_gives_the_same_faults():
    assert run_campaign(num_faults=5, seed=2).struck == run_campaign(num_faults=5, seed=2).struck
