"""Serial and Ray, one worker or several, disturbed or not: the same rows, bit for bit."""

from datetime import UTC, datetime

import pytest
import ray

from actors.builders import Job
from actors.coordinator import VideoOutcome
from actors.ray_executor import ActorOptions, run_on_ray
from actors.serial_executor import run_serial
from actors.worker_pool import WorkerPool
from jobs.cli import build_parser, resolve_config
from jobs.model_source import load_configured_model
from pipeline.config_io import config_hash
from pipeline.engine.progress import Progress
from pipeline.job_plan import AnswerCommitter, plan_job
from pipeline.manifest import read_manifest
from pipeline.results.rows import VOLATILE_COLUMNS, RunStamp

# 600 frames in groups of 32 are 19 groups; 9 nats are above any entropy of the demo vocabulary: Lite stops early
SETTINGS = (
    "budget.token_budget=128",
    "sampling.frames_per_group=32",
    "stopping.stop_entropy=9",
    "scoring.question_batch=2",
)
# workers share what CPUs there are: their number must not decide whether a test can run
OPTIONS = ActorOptions(scorer={"num_cpus": 0.1}, decoder={"num_cpus": 0.1})


@pytest.fixture(scope="module")
def make_job(archive, model_folder, tmp_path_factory):
    def make(method, *, num_scorers=1, num_decoders=1, **sets):
        execution = {"execution.num_scorers": num_scorers, "execution.num_decoders": num_decoders, **sets}
        pairs = [*SETTINGS, *(f"{key}={value}" for key, value in execution.items())]
        arguments = ["--manifest", str(archive), "--model", str(model_folder), "--method", method]
        arguments += [word for pair in pairs for word in ("--set", pair)]
        config, identity = resolve_config(build_parser().parse_args(arguments))
        stamp = RunStamp(
            run_id=f"{datetime.now(UTC):%f}",
            method=method,
            model="random",
            model_revision=identity.revision,
            config_hash=config_hash(config, model_revision=identity.revision),
        )
        plan = plan_job(read_manifest(str(archive)), stamp=stamp, output_uri=str(tmp_path_factory.mktemp("none")))
        return Job(
            tasks=plan.tasks,
            config=config,
            layout=identity.layout,
            stamp=stamp,
            load_model=load_configured_model,
        )

    return make


@pytest.fixture(scope="module")
def rows_of(archive, tmp_path_factory):
    """Commit what an executor yields; returns the rows as the Parquet files hold them."""

    def collect(events):
        committer = AnswerCommitter(read_manifest(str(archive)), output_uri=str(tmp_path_factory.mktemp("rows")))
        outcomes = [event for event in events if isinstance(event, VideoOutcome)]
        assert sorted(outcome.video_id for outcome in outcomes) == [0, 1]
        rows = [row for outcome in outcomes for row in committer.commit(outcome.rows).to_pylist()]
        return sorted(rows, key=lambda row: row["question_id"])

    return collect


@pytest.fixture(scope="module")
def serial_rows(make_job, rows_of):
    """The reference, once per method."""
    known = {}

    def run(method):
        if method not in known:
            known[method] = rows_of(run_serial(make_job(method)))
        return known[method]

    return run


def stable(rows):
    return [{name: value for name, value in row.items() if name not in VOLATILE_COLUMNS} for row in rows]


@pytest.mark.parametrize(
    ("method", "num_scorers", "num_decoders"),
    [("adapttoken", 1, 1), ("adapttoken", 4, 2), ("adapttoken-lite", 2, 2)],
)
@pytest.mark.usefixtures("ray_cluster")
def test_ray_gives_the_same_rows_as_one_process(method, num_scorers, num_decoders, make_job, rows_of, serial_rows):
    job = make_job(method, num_scorers=num_scorers, num_decoders=num_decoders)
    rows = rows_of(run_on_ray(job, OPTIONS))
    assert stable(rows) == stable(serial_rows(method))
    assert [row["status"] for row in rows] == ["ok"] * 6


def test_each_group_is_encoded_and_prefilled_once_for_all_questions_of_its_video(serial_rows):
    for row in serial_rows("adapttoken"):
        assert row["num_groups"] == row["num_groups_scored"] == len(row["groups"]) == 19
        assert row["video_num_groups_encoded"] == row["video_num_groups_prefilled"] == 19
        assert (row["video_num_frames_decoded"], row["video_num_decode_passes"]) == (600, 1)
        assert row["num_sampled_frames"] == 600
        assert sum(group["num_tokens_bought"] for group in row["groups"]) == 141  # 1.1 x 128, rounded up
        assert row["num_tokens_kept"] == 128
        assert sum(span["weight"] for span in row["evidence"]) == pytest.approx(1)


def test_lite_stops_early_and_pays_for_fewer_groups(serial_rows):
    rows = serial_rows("adapttoken-lite")
    assert all(2 <= row["num_groups_scored"] < 19 for row in rows if row["options"])
    assert {row["stop_reason"] for row in rows if row["options"]} == {"confident"}
    for video in {row["video"] for row in rows}:
        own = [row for row in rows if row["video"] == video]
        assert {row["video_num_groups_encoded"] for row in own} == {max(row["num_groups_scored"] for row in own)}


def test_a_small_frame_buffer_means_more_passes_and_the_same_rows(make_job, rows_of, serial_rows):
    buffer_bytes = 5 * 32 * 56 * 56 * 3  # half of it, two groups, for each pass
    rows = rows_of(run_serial(make_job("adapttoken", **{"execution.frame_buffer_bytes": buffer_bytes})))
    assert stable(rows) == stable(serial_rows("adapttoken"))
    assert {row["video_num_decode_passes"] for row in rows} == {10}


@pytest.mark.parametrize("role", ["scorer", "decoder"])
@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_killed_in_the_middle_loses_nothing(role, make_job, rows_of, serial_rows, monkeypatch):
    pools = []
    start = WorkerPool.start
    monkeypatch.setattr(WorkerPool, "start", lambda pool: (pools.append(pool), start(pool))[1])

    def disturbed(job):
        is_killed = False
        for event in run_on_ray(job, OPTIONS):
            has_begun = isinstance(event, Progress) and event.num_groups_planned > 0
            if not is_killed and has_begun and (role == "decoder" or event.num_groups_scored > 0):
                (victim,) = [name for name in pools[0]._actors if name.startswith(role)][:1]
                ray.kill(pools[0]._actors[victim])
                is_killed = True
            yield event
        assert is_killed
        assert victim not in pools[0]._actors, "the dead worker was replaced"

    rows = rows_of(disturbed(make_job("adapttoken", num_scorers=2 if role == "scorer" else 1)))
    assert stable(rows) == stable(serial_rows("adapttoken"))


@pytest.mark.usefixtures("ray_cluster")
def test_a_coordinator_killed_in_the_middle_is_replaced(make_job, rows_of, serial_rows, monkeypatch):
    pools = []
    start = WorkerPool.start
    monkeypatch.setattr(WorkerPool, "start", lambda pool: (pools.append(pool), start(pool))[1])

    def disturbed(job):
        for event in run_on_ray(job, OPTIONS):
            if len(pools) == 1 and isinstance(event, Progress) and event.num_groups_scored > 0:
                ray.kill(pools[0]._coordinator)
            yield event

    rows = rows_of(disturbed(make_job("adapttoken")))
    assert len(pools) == 2
    assert stable(rows) == stable(serial_rows("adapttoken"))
