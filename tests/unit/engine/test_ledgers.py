"""Room for frames and candidates: reserved before it is used, and never twice."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.messages.keys import WorkKey
from pipeline.engine.messages.work import DecodeDone
from pipeline.engine.one_video.candidate_ledger import CandidateLedger, bound_tokens
from pipeline.engine.one_video.decode_work import VideoSource
from pipeline.engine.one_video.frame_ledger import FrameLedger
from pipeline.engine.one_video.question_state import LARGEST_LAG
from pipeline.method.selectors.registry import get_selector
from pipeline.planning.video_plan import plan_video
from tests.unit.engine.fakes import FRAME_BYTES, FakeLayout, World, make_config, make_probe, make_tasks


def make_ledger(num_frames=100, **execution):
    config = make_config(num_decoders=3, **execution)
    plan = plan_video(make_probe(num_frames), layout=FakeLayout(), selector=get_selector("adapttoken"), config=config)
    return FrameLedger(plan, VideoSource(uri="v", fingerprint="f", probe=None)), plan


def make_key(stage, index, turns=iter(range(10**9))):  # noqa: B008 - one count for all keys is what is wanted
    return WorkKey(video_id=0, attempt=1, stage=stage, index=index, turn=next(turns))


def read_all(ledger, *, worker="decoder-1"):
    works = []
    while (work := ledger.hand_out(worker, make_key)) is not None:
        works.append(work)
        bundles = dict.fromkeys(work.slots.positions, "ref")
        ledger.file(work.key, DecodeDone(bundles=bundles, decoder="d", num_frames_decoded=1))
    return works


def test_frames_of_a_lost_decoder_are_read_again_and_only_those():
    ledger, plan = make_ledger()
    ledger.start_chunk()
    first = ledger.hand_out("decoder-1", make_key)
    rest = read_all(ledger, worker="decoder-2")
    bundles = dict.fromkeys(first.slots.positions, "ref")
    ledger.file(first.key, DecodeDone(bundles=bundles, decoder="d", num_frames_decoded=1))
    assert len(rest) == 2
    assert len(list(ledger.ready_positions())) == len(plan.groups)
    reserved = ledger.reserved_bytes
    assert ledger.lose_decoder("decoder-1")
    again = read_all(ledger, worker="decoder-3")
    assert {work.key.index for work in again} == {first.key.index}
    frames = np.concatenate([work.stretch.frame_indices for work in again])
    assert sorted(frames.tolist()) == first.stretch.frame_indices.tolist()
    assert ledger.reserved_bytes == reserved == 100 * FRAME_BYTES
    assert len(list(ledger.ready_positions())) == len(plan.groups)


def test_one_lost_group_is_read_again_alone():
    ledger, plan = make_ledger()
    ledger.start_chunk()
    read_all(ledger)
    for position in range(len(plan.groups)):
        ledger.give(position)
        ledger.drop([position])
    assert ledger.reserved_bytes == 0
    ledger.want([3])
    assert ledger.chunk_bytes() == plan.group_bytes(3)
    ledger.start_chunk()
    frames = np.concatenate([work.stretch.frame_indices for work in read_all(ledger)])
    assert sorted(frames.tolist()) == sorted(plan.group_frames(3).tolist())
    assert list(ledger.ready_positions()) == [3]


def test_stretches_that_yield_nothing_for_anybody_are_called_off_once():
    ledger, plan = make_ledger()
    ledger.start_chunk()
    work = ledger.hand_out("decoder-1", make_key)
    ledger.drop(range(1, len(plan.groups)))
    is_needed = 0 in work.slots.positions
    assert ledger.take_unneeded() == ([] if is_needed else [("decoder-1", work.key)])
    ledger.drop([0])
    assert ledger.take_unneeded() == ([("decoder-1", work.key)] if is_needed else [])
    assert (ledger.take_unneeded(), ledger.reserved_bytes, ledger.num_queued) == ([], 0, 0)


@given(data=st.data(), num_questions=st.integers(1, 3), num_groups=st.integers(1, 6))
@settings(deadline=None, max_examples=60)
def test_candidates_are_counted_once_however_many_questions_hold_them(data, num_questions, num_groups):
    tokens = np.array(data.draw(st.lists(st.integers(1, 9), min_size=num_groups, max_size=num_groups)))
    ledger, held = CandidateLedger(tokens, num_questions=num_questions), {}
    for _ in range(data.draw(st.integers(0, 12))):
        position = data.draw(st.integers(0, num_groups - 1))
        if data.draw(st.booleans()):
            before = ledger.num_tokens
            cost = ledger.cost([position])
            ledger.hand_out([position], range(num_questions))
            held[position] = [int(tokens[position])] * num_questions
            assert ledger.num_tokens == before + cost
        elif position in held:
            question = data.draw(st.integers(0, num_questions - 1))
            held[position][question] = data.draw(st.integers(0, held[position][question]))
            ledger.cut({question: {position: held[position][question]}})
        assert ledger.num_tokens == sum(min(sum(limits), int(tokens[p])) for p, limits in held.items())
    ledger.forget(list(held))
    assert ledger.num_tokens == 0


@pytest.mark.parametrize(
    ("budget", "num_questions", "tokens"),
    [(100, 1, 138 + LARGEST_LAG * 500), (100, 3, 413 + LARGEST_LAG * 500), (None, 3, 5_000), (10**6, 1, 5_000)],
)
def test_a_videos_bound_is_the_oversold_budget_per_question_but_never_more_than_all(budget, num_questions, tokens):
    assert bound_tokens(np.full(10, 500), budget=budget, num_questions=num_questions) == tokens


@given(seed=st.integers(0, 2**32), candidate_tokens=st.sampled_from([1, 300, 900, 10**6]))
@settings(deadline=None, max_examples=10)
def test_candidates_of_several_videos_stay_within_their_bound_and_nothing_stands_still(seed, candidate_tokens):
    config = make_config(budget=16, videos_in_flight=3, candidate_bytes=candidate_tokens * 16_384)
    world, rng = World(config, make_tasks(num_videos=3), num_scorers=3, num_decoders=2), random.Random(seed)
    while not world.state.is_finished:
        world.step(rng.choice(sorted(world.doing)))
        total = world.state.holdings.candidate_bytes
        assert total <= config.execution.candidate_bytes or world.state.num_admitted == 1
    assert [row.status for row in world.rows] == ["ok"] * 6


def test_room_is_free_again_when_the_last_group_of_a_bundle_is_done():
    config = make_config(num_decoders=3)
    plan = plan_video(make_probe(100), layout=FakeLayout(), selector=get_selector("adapttoken"), config=config)
    ledger = FrameLedger(plan, VideoSource(uri="v", fingerprint="f", probe=None, groups_per_bundle=3))
    ledger.start_chunk()
    while (work := ledger.hand_out("decoder-0", make_key)) is not None:
        numbers = {position // 3 for position in work.slots.positions}
        ledger.file(work.key, DecodeDone(bundles=dict.fromkeys(numbers, "ref"), decoder="d", num_frames_decoded=1))
    sizes = [plan.group_bytes(position) for position in range(len(plan.groups))]
    held = []
    for position in range(4):
        assert set(ledger.give(position)) == {"ref"}
        ledger.drop([position])
        held.append(ledger.reserved_bytes)
    assert held == [sum(sizes), sum(sizes), sum(sizes[3:]), sum(sizes[3:])]
    ledger.drop(range(4, len(sizes)))
    assert ledger.reserved_bytes == 0
