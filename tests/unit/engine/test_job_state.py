"""Whatever the order in which workers finish, rows are the same, memory is bounded, and nothing is lost."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.messages.work import DecodeWork, GatherWork, ScoreWork
from pipeline.method.budget import allocate_budget
from pipeline.method.grouping import visiting_order
from pipeline.method.selectors.registry import SELECTORS
from pipeline.results.rows import VOLATILE_COLUMNS
from pipeline.results.schema import ANSWERS_SCHEMA, results_table
from tests.unit.engine.fakes import FRAME_BYTES, World, fake_score, make_config, make_probe, make_tasks, stable

METHODS = sorted({name for name, one in SELECTORS.items() if one.ranker is None} | {"evs"})  # rank is no matter here


def expected_prefix(video_id, question, num_groups, config):
    """The shortest prefix in which two groups agree at low entropy, worked out straight from the visiting order."""
    order = visiting_order(num_groups)
    for length in range(1, num_groups + 1):
        scores = [fake_score(video_id, question, int(group)) for group in order[:length]]
        sure = [score.response for score in scores if score.entropy <= config.stopping.stop_entropy]
        if any(sure.count(response) >= 2 for response in sure):
            return [int(group) for group in order[:length]]
    return [int(group) for group in order]


@pytest.mark.parametrize("method", METHODS)
@given(
    seed=st.integers(0, 2**32),
    num_scorers=st.integers(1, 4),
    num_decoders=st.integers(1, 3),
    buffer_groups=st.sampled_from([1, 3, 100]),
)
@settings(deadline=None, max_examples=12)
def test_rows_do_not_depend_on_order_workers_or_memory(method, seed, num_scorers, num_decoders, buffer_groups):
    tasks = make_tasks(num_videos=2, num_questions=5)
    reference = World(make_config(method), tasks).run()
    frames_per_group = 8 if SELECTORS[method].group_rule.patches_per_group is None else 100
    buffer = buffer_groups * frames_per_group * FRAME_BYTES
    config = make_config(method, frame_buffer_bytes=buffer, num_decoders=num_decoders)
    world = World(config, tasks, num_scorers=num_scorers, num_decoders=num_decoders)
    rows = world.run(random.Random(seed))
    assert [stable(row) for row in rows] == [stable(row) for row in reference]
    assert {row.status for row in rows} == {"ok"}
    assert not any(world.state._flow.videos or box.gathers for box in world.state._boxes.values())


@given(seed=st.integers(0, 2**32), num_scorers=st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_a_question_stops_at_the_shortest_confident_prefix(seed, num_scorers):
    config = make_config("adapttoken-lite", budget=20)
    world = World(config, make_tasks(num_questions=4), num_scorers=num_scorers, num_decoders=2)
    for index, row in enumerate(world.run(random.Random(seed))):
        prefix = expected_prefix(0, index, row.num_groups, config)
        assert [group.group_index for group in row.groups] == prefix
        assert row.num_groups_scored == len(prefix)
        certainties = [fake_score(0, index, group).certainty for group in prefix]
        offered = [group.num_tokens_offered for group in row.groups]
        bought = allocate_budget(certainties, offered, budget=22, tau=0.5)
        assert [group.num_tokens_bought for group in row.groups] == bought.tolist()
        assert row.stop_reason == ("confident" if len(prefix) < row.num_groups else row.stop_reason)


def test_groups_scored_ahead_of_the_stop_are_wasted_and_not_in_the_row():
    config = make_config("adapttoken-lite")
    world = World(config, make_tasks(num_questions=1), num_scorers=4)
    world.step("decoder-0")
    while not any(isinstance(work, ScoreWork) for work in world.doing["scorer-0"]):
        world.step("decoder-0")
        for scorer in ("scorer-3", "scorer-2", "scorer-1", "scorer-0"):
            if not world.doing[scorer]:
                world.step(scorer)
    # scorers 3, 2, 1, 0 hold positions 0, 1, 2, 3; the first runs last, so three groups are early
    for scorer in ("scorer-0", "scorer-1", "scorer-2"):
        world.step(scorer)
    question = world.state._flow.videos[0].questions[0]
    assert sorted(question.scores) == [1, 2, 3]
    assert question.prefix == []
    (row,) = world.run()
    num_scored = len({work.key.index for _, work in world.done if isinstance(work, ScoreWork)})
    assert row.num_groups_scored == len(expected_prefix(0, 0, row.num_groups, config)) < row.num_groups
    assert len(row.groups) == row.num_groups_scored
    assert row.num_groups_wasted >= num_scored - row.num_groups_scored
    assert num_scored > row.num_groups_scored


def test_micro_batches_are_fixed_and_a_stopped_question_rides_on_until_its_batch_is_empty():
    config = make_config("adapttoken-lite", question_batch=2)
    world = World(config, make_tasks(num_questions=5))
    rows = world.run()
    works = sorted((w for _, w in world.done if isinstance(w, ScoreWork)), key=lambda work: work.key.index)
    assert {batch for work in works for batch in work.group.batches} == {(0, 1), (2, 3), (4,)}
    stops = [row.num_groups_scored for row in rows]
    assert len(set(stops)) > 1
    for batch in ((0, 1), (2, 3), (4,)):
        last = max(stops[index] for index in batch)
        assert [batch in work.group.batches for work in works] == [work.key.index < last for work in works]


@given(
    seed=st.integers(0, 2**32),
    num_questions=st.integers(1, 3),
    method=st.sampled_from(["adapttoken", "adapttoken-lite", "equal-quota", "entropy-vote"]),
)
@settings(deadline=None, max_examples=20)
def test_a_question_holds_the_oversold_budget_and_one_token_per_group(seed, num_questions, method):
    config = make_config(method, budget=16)
    world = World(config, make_tasks(num_questions=num_questions), num_scorers=3)
    rng = random.Random(seed)
    while not world.state.is_finished:
        world.step(rng.choice(sorted(world.doing)))
        for video in world.state._flow.videos.values():
            for question in video.questions:
                held = int(question.limits.sum())
                assert held <= (18 + len(question.prefix)) * 5 / 4  # limits are told in steps
                assert len(question.limits) == len(question.prefix)
                if question.bought is not None:
                    assert all(question.limits[p] >= n for p, n in enumerate(question.bought))


def test_several_videos_share_the_buffer_and_the_oldest_goes_first():
    probes = {f"v{i}": make_probe(num_frames) for i, num_frames in enumerate((400, 40, 90, 41))}
    config = make_config(frame_buffer_bytes=100 * FRAME_BYTES, videos_in_flight=4)
    world = World(config, make_tasks(num_videos=4), probes=probes, num_scorers=2, num_decoders=2)
    rows = world.run(random.Random(5))
    assert len(rows) == 8
    assert {row.status for row in rows} == {"ok"}
    decoded = [work.key.video_id for _, work in world.done if isinstance(work, DecodeWork)]
    assert decoded[0] == 0


@pytest.mark.parametrize("num_frames", [7, 8, 9, 15, 17])
def test_a_repeated_last_frame_does_not_outgrow_a_buffer_of_exactly_one_group(num_frames):
    probes = {"v0": make_probe(num_frames)}
    config = make_config(frame_buffer_bytes=min(num_frames, 8) * FRAME_BYTES)
    rows = World(config, make_tasks(num_questions=1), probes=probes).run(max_steps=500)
    assert [row.status for row in rows] == ["ok"], rows[0].error_message


@pytest.mark.parametrize("method", ["uniform", "all"])
def test_methods_without_scores_encode_each_group_once_and_keep_all_their_tokens(method):
    world = World(make_config(method, budget=40), make_tasks(num_questions=2))
    rows = world.run()
    num_patches = 10 if method == "uniform" else 50
    for row in rows:
        assert row.num_tokens_offered == row.num_tokens_kept == num_patches * 4
        assert (row.groups, row.num_groups_scored, row.video_num_groups_prefilled) == ((), 0, 0)
        assert row.video_num_groups_encoded == row.num_groups == -(-num_patches // 4)


def test_all_tokens_beyond_the_context_are_refused_with_the_way_out():
    rows = World(make_config("all"), make_tasks(), probes={"v0": make_probe(4_000)}).run()
    assert [row.error_class for row in rows] == ["too_large", "too_large"]
    assert "answering.allow_long_context" in rows[0].error_message


@pytest.mark.parametrize("method", METHODS)
def test_shared_seconds_are_split_so_that_they_sum_to_what_was_spent(method):
    world = World(make_config(method, num_decoders=2), make_tasks(num_videos=2, num_questions=3), num_decoders=2)
    rows = world.run()
    for video_id in (0, 1):
        own = [row for row in rows if row.video == f"v{video_id}"]
        assert sum(row.total_s for row in own) == pytest.approx(world.spent[video_id])
        stages = [sum(getattr(row, name) for row in own) for name in ("decode_s", "encode_s", "prefill_s", "answer_s")]
        works = [work for _, work in world.done if work.key.video_id == video_id]
        num_scored = sum(isinstance(work, ScoreWork) for work in works)
        num_gathers = sum(isinstance(work, GatherWork) for work in works)
        num_decodes = sum(isinstance(work, DecodeWork) for work in works)
        answered = 6 * SELECTORS[method].needs_final_pass + 0.25 * num_gathers
        assert stages == pytest.approx([0.5 + num_decodes, num_scored, 2 * num_scored, answered])


def test_every_row_fits_the_schema_of_the_results():
    rows = World(make_config("adapttoken-lite"), make_tasks(num_videos=2)).run()
    table = results_table(rows, pa.table({}))
    assert table.schema == ANSWERS_SCHEMA
    assert table.num_rows == 4
    assert set(table.column_names) > VOLATILE_COLUMNS
    groups = table.column("groups").to_pylist()[0]
    assert sum(group["num_tokens_kept"] for group in groups) == table.column("num_tokens_kept")[0].as_py()
    assert all(np.isfinite(group["entropy"]) for group in groups)
