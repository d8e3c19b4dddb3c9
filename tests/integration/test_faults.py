"""Processes that are killed or hang in the middle of a job on Ray lose nothing and change no row."""

import itertools
import os
import signal
from dataclasses import replace

import pytest
import ray

from actors.ray_executor import run_on_ray
from actors.worker_pool import ActorOptions
from cluster.local_nodes import find_workers
from jobs.wiring.model_source import load_configured_model
from pipeline.engine.progress import Progress


@pytest.fixture
def send():
    """Sends a signal to the first process of a kind that this test's Ray has; tells whether there was one.

    A worker at work is ``ray::Scorer.run`` until it is first asked for a sign of life, ten seconds on.
    """
    (raylet,) = ray._private.worker._global_node.all_processes["raylet"]

    def send_to(title, number=signal.SIGKILL):
        victims = sorted(find_workers(title, raylets={raylet.process.pid}))
        if victims:
            os.kill(victims[0], number)
        return bool(victims)

    return send_to


def disturbed(job, options, faults):
    """Run a job; each fault is tried at every progress after the one before it, until it says that it happened."""
    faults = list(faults)
    for event in run_on_ray(job, options):
        if faults and isinstance(event, Progress) and faults[0](event):
            faults.pop(0)
        yield event
    assert not faults


@pytest.mark.usefixtures("ray_cluster")
def test_a_decoder_a_scorer_and_a_coordinator_killed_in_one_run_change_no_row(
    make_job, rows_of, serial_rows, stable, place, send
):
    job = make_job("adapttoken", num_scorers=2)
    options = ActorOptions(scorer=(place,) * 2, decoder=(place,))
    faults = [
        lambda progress: progress.num_groups_planned > 0 and send("Decoder"),
        lambda progress: progress.num_groups_scored > 0 and send("Scorer"),
        lambda progress: send("CoordinatorService"),
    ]
    assert stable(rows_of(disturbed(job, options, faults))) == stable(serial_rows("adapttoken"))


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.slow
def test_a_scorer_whose_gpu_is_lost_ends_and_its_successor_goes_on(
    make_job, rows_of, serial_rows, stable, place, tmp_path, caplog
):
    once = tmp_path / "broken"

    def load(config):
        """From its third group on, every call of the first process fails, as with a broken CUDA context."""
        model, calls, broken = load_configured_model(config), itertools.count(), not once.exists()
        once.touch()
        encode = model.encode

        def encode_until_broken(*arguments, **options):
            if broken and next(calls) >= 2:
                raise RuntimeError("CUDA error: device-side assert triggered")
            return encode(*arguments, **options)

        model.encode = encode_until_broken
        return model

    job = replace(make_job("adapttoken"), load_model=load)
    rows = rows_of(run_on_ray(job, ActorOptions(scorer=(place,), decoder=(place,))))
    assert stable(rows) == stable(serial_rows("adapttoken"))
    assert "scorer-0 died (a worker lost its GPU (RuntimeError: CUDA error: device-side assert" in caplog.text


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_coordinator_that_hangs_is_replaced(make_job, rows_of, serial_rows, stable, place, send):
    options = ActorOptions(scorer=(place,), decoder=(place,))
    faults = [lambda progress: progress.num_groups_scored and send("CoordinatorService", signal.SIGSTOP)]
    rows = rows_of(disturbed(make_job("adapttoken"), options, faults))
    assert stable(rows) == stable(serial_rows("adapttoken"))


@pytest.mark.usefixtures("ray_cluster")
def test_two_coordinators_share_a_job_and_change_no_row_though_one_is_killed(
    make_job, rows_of, serial_rows, stable, place, send, caplog
):
    job = make_job("adapttoken", num_scorers=2, **{"execution.num_decoders": 2, "execution.num_coordinators": 2})
    options = ActorOptions(scorer=(place,) * 2, decoder=(place,) * 2)
    faults = [lambda progress: progress.num_groups_scored and send("CoordinatorService")]
    with caplog.at_level("INFO", logger="adapttoken"):
        assert stable(rows_of(disturbed(job, options, faults))) == stable(serial_rows("adapttoken"))
    assert "2 coordinators share" in caplog.text


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_two_shards_one_coordinator_killed_and_one_stopped_change_no_row(
    make_job, rows_of, serial_rows, stable, place, send
):
    job = make_job("adapttoken", num_scorers=2, **{"execution.num_decoders": 2, "execution.num_coordinators": 2})
    options = ActorOptions(scorer=(place,) * 2, decoder=(place,) * 2)
    faults = [
        lambda progress: progress.num_groups_scored and send("CoordinatorService"),
        lambda progress: progress.num_groups_scored > 1 and send("CoordinatorService", signal.SIGSTOP),
    ]
    assert stable(rows_of(disturbed(job, options, faults))) == stable(serial_rows("adapttoken"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_scorer_that_hangs_is_ended_at_default_settings(make_job, rows_of, serial_rows, stable, place, send):
    options = ActorOptions(scorer=(place,), decoder=(place,))
    faults = [lambda progress: progress.num_groups_scored and send("Scorer", signal.SIGSTOP)]
    assert stable(rows_of(disturbed(make_job("adapttoken"), options, faults))) == stable(serial_rows("adapttoken"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_answerers_of_their_own_give_the_same_rows_though_one_is_killed(
    make_job, rows_of, serial_rows, stable, place, send
):
    options = ActorOptions(scorer=(place,), decoder=(place,), answerer=(place,))
    faults = [lambda progress: progress.num_groups_scored and send("Answerer")]
    rows = rows_of(disturbed(make_job("adapttoken"), options, faults))
    assert stable(rows) == stable(serial_rows("adapttoken"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_scorers_without_room_are_not_waited_for(make_job, rows_of, serial_rows, stable, place):
    options = ActorOptions(scorer=(place, {"num_cpus": 64}), decoder=(place,))
    rows = rows_of(run_on_ray(make_job("adapttoken", num_scorers=2), options))
    assert stable(rows) == stable(serial_rows("adapttoken"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_five_scorers_killed_at_default_attempts_change_no_row(make_job, rows_of, serial_rows, stable, place, send):
    options = ActorOptions(scorer=(place,), decoder=(place,))
    faults = [lambda progress: progress.num_groups_scored and send("Scorer.run")] * 5
    rows = rows_of(disturbed(make_job("adapttoken"), options, faults))
    assert stable(rows) == stable(serial_rows("adapttoken"))
