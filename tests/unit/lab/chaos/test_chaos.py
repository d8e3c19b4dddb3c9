"""A short chaos campaign, and proof that it notices broken promises."""

import random
from contextlib import suppress

import pytest

from jobs.lab import chaos_state
from pipeline.engine.mailbox import Mailbox
from pipeline.engine.one_video.planned import Planned
from pipeline.lab.chaos import case
from pipeline.lab.chaos.campaign import Campaign, run_campaign, run_case
from pipeline.lab.chaos.faults import CELLS, Fault, Kind, Moment
from pipeline.lab.chaos.worker import BrokenPromiseError


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


def test_the_same_seed_gives_the_same_faults():
    assert run_campaign(num_faults=5, seed=2).struck == run_campaign(num_faults=5, seed=2).struck
