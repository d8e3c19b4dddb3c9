import json
from collections import Counter
from dataclasses import asdict, replace

import pytest

from pipeline.lab.simulation.archive import Archive
from pipeline.lab.simulation.report import bound_s, critical_path_s, summarize_run
from pipeline.lab.simulation.settings import StageTimes
from pipeline.lab.simulation.simulator import Simulation

# of tests/unit/lab/simulation/conftest.py: probe, 128 frames decoded and wanted, one group, gather, answer
PROBE_S, DECODE_S, GROUP_S, FETCH_S, GATHER_S, ANSWER_S = 3.0, 128 / 64 + 128 / 32, 3.5, 0.25, 0.125, 4.0


@pytest.mark.parametrize(
    ("changes", "makespan_s"),
    [
        pytest.param({}, PROBE_S + DECODE_S + 2 * (FETCH_S + GROUP_S) + GATHER_S + ANSWER_S, id="one after the other"),
        pytest.param(
            {"groups_in_hand": 2},
            PROBE_S + DECODE_S + FETCH_S + 2 * GROUP_S + GATHER_S + ANSWER_S,
            id="the frames of the second group are fetched meanwhile",
        ),
        pytest.param(
            {"num_gpus": 2},
            PROBE_S + DECODE_S / 2 + FETCH_S + GROUP_S + GATHER_S + ANSWER_S,
            id="two decoders and two scorers share the work",
        ),
        pytest.param(
            {"num_questions": 2, "num_gpus": 2},
            PROBE_S + DECODE_S / 2 + FETCH_S + (GROUP_S + 0.5) + 2 * GATHER_S + ANSWER_S,
            id="a second question costs its suffix, and is answered beside the first",
        ),
    ],
)
def test_a_schedule_worked_out_by_hand_is_what_the_simulation_finds(make_settings, changes, makespan_s):
    seen = Simulation(make_settings(**changes)).observe()
    assert seen.makespan_s == pytest.approx(makespan_s, abs=1e-9)
    assert seen.latencies_s == pytest.approx([makespan_s], abs=1e-9)


def test_every_way_to_the_coordinator_and_back_takes_its_latency(make_settings):
    free = Simulation(make_settings(groups_in_hand=2)).observe()
    settings = make_settings(groups_in_hand=2)
    late = Simulation(replace(settings, coordinator=replace(settings.coordinator, latency_s=0.5))).observe()
    # out and back for: probe, stretch, both groups, gather, final pass
    assert late.makespan_s - free.makespan_s == pytest.approx(5 * 2 * 0.5, abs=1e-9)


def test_utilisation_is_busy_time_over_the_time_until_the_last_answer(make_settings):
    settings = make_settings(groups_in_hand=2)
    seen = Simulation(settings).observe()
    report = summarize_run(settings, seen, wall_s=1.0)
    assert report.scorer_utilisation == pytest.approx((2 * GROUP_S + GATHER_S + ANSWER_S) / seen.makespan_s)
    assert report.decoder_utilisation == pytest.approx((PROBE_S + DECODE_S) / seen.makespan_s)
    assert report.answerer_utilisation is None


def test_the_critical_path_is_probe_decoding_rounds_of_groups_gather_and_answer(make_settings):
    settings = make_settings(num_gpus=2, num_frames=320)  # five groups on two scorers are three rounds
    path_s = critical_path_s(settings, Archive(settings).plan)
    assert path_s == pytest.approx(PROBE_S + 320 * (1 / 64 + 1 / 32) / 2 + 3 * GROUP_S + GATHER_S + ANSWER_S)


@pytest.mark.parametrize("changes", [{}, {"num_gpus": 3, "num_videos": 7}, {"num_answerers": 1, "num_gpus": 3}])
def test_no_schedule_ends_before_its_bound(make_settings, changes):
    settings = make_settings(num_frames=640, num_questions=3, **changes)
    seen = Simulation(settings).observe()
    assert bound_s(settings, seen.plan, seen) <= seen.makespan_s + 1e-9


ONE, MANY = {"num_gpus": 1}, {"num_gpus": 5, "decode_cores_per_gpu": 3.0, "groups_in_hand": 4}
ANSWERERS = {"num_gpus": 6, "num_answerers": 2, "groups_in_hand": 2}


@pytest.mark.parametrize(
    ("method", "size"),
    [
        ("adapttoken", ONE),
        ("adapttoken", ANSWERERS),
        ("adapttoken-lite", MANY),
        ("adapttoken-lite", ANSWERERS),
        ("uniform", MANY),
    ],
)
def test_every_question_ends_exactly_once_and_answered(make_settings, method, size):
    settings = make_settings(num_videos=5, num_questions=3, num_frames=448, method=method, times=StageTimes(), **size)
    seen = Simulation(settings).observe()
    assert seen.rows_by_question == {f"{video}-{question}": 1 for video in range(5) for question in range(3)}
    assert seen.num_failed == 0
    assert len(seen.latencies_s) == 5


def test_a_full_run_scores_every_group_once(make_settings):
    settings = make_settings(num_videos=4, num_frames=704, num_gpus=3)
    seen = Simulation(settings).observe()
    assert seen.groups_scored == seen.groups_useful == 4 * 11


def test_a_lite_run_needs_the_groups_up_to_the_last_stop_of_a_video(make_settings):
    settings = make_settings(
        num_videos=12, num_questions=2, num_frames=1_280, num_gpus=4, method="adapttoken-lite", mean_stop_groups=6.0
    )
    seen, archive = Simulation(settings).observe(), Archive(settings)
    stops = [
        max(min(20, max(archive.sure_positions(video, question)) + 1) for question in range(2)) for video in range(12)
    ]
    assert seen.groups_useful == sum(stops)
    assert seen.groups_scored >= seen.groups_useful


def test_reading_for_a_question_that_has_stopped_is_broken_off(make_settings):
    settings = make_settings(
        num_frames=48 * 64, gop_frames=1, method="adapttoken-lite", mean_stop_groups=2.0, decode_cores_per_gpu=2.0
    )
    settings = replace(settings, coordinator=replace(settings.coordinator, poll_s=0.5))
    seen = Simulation(settings).observe()
    first_pass_s = 8 * 64 * (1 / 64 + 1 / 32)
    assert seen.num_cancelled > 0
    assert seen.groups_useful == 2
    busy_s, _ = seen.end.spent_s["decoder"]
    assert first_pass_s <= busy_s < 48 / 8 * first_pass_s, "the rest of the video is not read"


@pytest.mark.parametrize("method", ["adapttoken", "adapttoken-lite"])
def test_several_coordinators_share_the_videos_and_every_question_still_ends_once(make_settings, method):
    settings = make_settings(num_videos=7, num_questions=2, num_frames=448, num_gpus=6, method=method)
    seen = Simulation(replace(settings, num_coordinators=3)).observe()
    assert seen.rows_by_question == {f"{video}-{question}": 1 for video in range(7) for question in range(2)}
    report = summarize_run(replace(settings, num_coordinators=3), seen, wall_s=0.0)
    assert (report.num_coordinators, report.num_failed) == (3, 0)


def test_workers_go_on_to_another_coordinator_when_theirs_has_ended(make_settings):
    """Of three videos one coordinator has two: alone, its one GPU and decoder would take as long as for these."""
    alone_s = Simulation(make_settings(num_frames=640, num_videos=2)).observe().makespan_s
    shared = make_settings(num_frames=640, num_videos=3, num_gpus=2, num_coordinators=2)
    seen = Simulation(shared).observe()
    assert alone_s / 2 < seen.makespan_s < 0.9 * alone_s
    assert seen.groups_scored == 3 * 10


def test_nodes_lost_with_several_coordinators_lose_no_question(make_settings):
    settings = make_settings(num_videos=12, num_questions=2, num_frames=448, num_gpus=6, num_coordinators=3)
    seen = Simulation(replace(settings, node_losses_per_hour=60.0, detection_s=1.0, return_s=5.0)).observe()
    assert seen.num_nodes_lost >= 2
    assert set(Counter(seen.rows_by_question).values()) == {1}
    assert len(seen.rows_by_question) == 24


def test_the_same_seed_gives_the_same_run_and_another_seed_another(make_settings):
    settings = make_settings(num_videos=6, num_frames=640, num_gpus=4, times=StageTimes(spread=0.3))

    def run(seed: int) -> str:
        changed = replace(settings, seed=seed)
        report = summarize_run(changed, Simulation(changed).observe(), wall_s=0.0)
        return json.dumps({name: value for name, value in asdict(report).items() if name != "settings"})

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_lost_nodes_lose_no_question(make_settings):
    settings = make_settings(num_videos=12, num_questions=2, num_frames=448, num_gpus=6, decode_cores_per_gpu=2.0)
    seen = Simulation(replace(settings, node_losses_per_hour=60.0, detection_s=1.0, return_s=5.0)).observe()
    assert seen.num_nodes_lost >= 2
    assert set(Counter(seen.rows_by_question).values()) == {1}
    assert len(seen.rows_by_question) == 24
    assert seen.groups_scored > seen.groups_useful, "what was lost is scored again"
    assert seen.num_failed == 0


def test_a_node_that_is_gone_is_neither_busy_nor_there(make_settings):
    settings = make_settings(num_videos=8, num_frames=640, num_gpus=4, node_losses_per_hour=120.0, return_s=30.0)
    seen = Simulation(settings).observe()
    assert seen.num_nodes_lost >= 1
    busy_s, there_s = seen.end.spent_s["scorer"]
    assert busy_s <= there_s < 4 * seen.makespan_s
