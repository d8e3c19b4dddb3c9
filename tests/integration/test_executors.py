"""Serial and Ray, one worker or several: the same rows, bit for bit."""

import pytest
import ray

from actors.ray_executor import run_on_ray
from actors.scorer import ScorerActor
from actors.serial_executor import run_serial
from actors.worker_pool import ActorOptions
from pipeline.method.selectors.registry import SELECTORS

BY_DEFAULT = [("adapttoken-lite", 2, 2)]
FULL = [pytest.param("adapttoken", *workers, marks=pytest.mark.slow) for workers in ((1, 1), (4, 2))]
ALL_OTHERS = sorted(set(SELECTORS) - {"adapttoken", "adapttoken-lite"})


@pytest.mark.parametrize(
    ("method", "num_scorers", "num_decoders"),
    [*BY_DEFAULT, *FULL, *(pytest.param(method, 2, 2, marks=pytest.mark.slow) for method in ALL_OTHERS)],
)
@pytest.mark.usefixtures("ray_cluster")
def test_ray_gives_the_same_rows_as_one_process(
    method, num_scorers, num_decoders, make_job, rows_of, serial_rows, stable, place
):
    job = make_job(method, num_scorers=num_scorers, num_decoders=num_decoders)
    ways: list[dict[str, str]] = []
    named: set[str] = set()

    def note(said):
        ways.append(said)
        named.update(name.rpartition(" ")[0] for name in ray.util.list_named_actors())

    options = ActorOptions(scorer=(place,) * num_scorers, decoder=(place,) * num_decoders)
    rows = rows_of(run_on_ray(job, options, on_ready=note))
    assert named >= {f"{job.stamp.run_id} {name}" for name in ("coordinator-0", "scorer-0", "decoder-0")}
    assert stable(rows) == stable(serial_rows(method))
    said = [one for one in ways if one]  # decoders have nothing to say
    assert 1 <= len(said) <= num_scorers  # a small job may end before all have loaded
    assert all((one["devices"], one["fusion"], one["quantization"]) == ("cpu", "off", "off") for one in said)
    assert [row["status"] for row in rows] == ["ok"] * 6


@pytest.mark.parametrize("method", ["adapttoken", "adapttoken-lite"])
def test_a_scorer_that_keeps_a_group_queued_between_batches_gives_the_same_rows(
    method, make_job, rows_of, serial_rows, stable, monkeypatch
):
    expected, build = stable(serial_rows(method)), ScorerActor.__init__

    def build_queueing(self, *arguments, **options):
        build(self, *arguments, **options)
        self.can_queue = True

    monkeypatch.setattr(ScorerActor, "__init__", build_queueing)
    assert stable(rows_of(run_serial(make_job(method, **{"execution.groups_in_hand": 3})))) == expected


def test_each_group_is_encoded_and_prefilled_once_for_all_questions_of_its_video(serial_rows):
    for row in serial_rows("adapttoken"):
        assert row["num_groups"] == row["num_groups_scored"] == len(row["groups"]) == 19
        assert row["video_num_groups_encoded"] == row["video_num_groups_prefilled"] == 19
        assert (row["video_num_frames_decoded"], row["video_num_decode_passes"]) == (600, 1)
        assert row["num_sampled_frames"] == 600
        assert sum(group["num_tokens_bought"] for group in row["groups"]) == 512  # 4 x 128
        assert row["num_tokens_kept"] == 128
        assert sum(span["weight"] for span in row["evidence"]) == pytest.approx(1)


def test_rows_say_what_held_the_decoding_process_and_are_the_same_without_it(make_job, rows_of, serial_rows, stable):
    held, free = serial_rows("adapttoken"), rows_of(run_serial(make_job("adapttoken", **{"reading.sandbox": "off"})))
    assert {row["sandbox"] for row in free} == {"off"}
    (layers,) = {row["sandbox"] for row in held}
    assert layers != "off"
    without = [[{**row, "sandbox": None} for row in stable(rows)] for rows in (held, free)]
    assert without[0] == without[1]


def test_lite_stops_early_and_pays_for_fewer_groups(serial_rows):
    rows = serial_rows("adapttoken-lite")
    assert all(2 <= row["num_groups_scored"] < 19 for row in rows if row["options"])
    assert {row["stop_reason"] for row in rows if row["options"]} == {"confident"}
    for video in {row["video"] for row in rows}:
        own = [row for row in rows if row["video"] == video]
        assert {row["video_num_groups_encoded"] for row in own} == {max(row["num_groups_scored"] for row in own)}


def test_a_small_frame_buffer_means_more_passes_and_the_same_rows(make_job, rows_of, serial_rows, stable):
    buffer_bytes = 5 * 32 * 56 * 56 * 3  # half of it, two groups, for each pass
    rows = rows_of(run_serial(make_job("adapttoken", **{"execution.frame_buffer_bytes": buffer_bytes})))
    assert stable(rows) == stable(serial_rows("adapttoken"))
    assert {row["video_num_decode_passes"] for row in rows} == {10}
