"""One Ray, one small archive of real H.264 files, and one demo model with random weights, for all integration tests."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from actors.builders import Job
from actors.outcomes import VideoOutcome
from actors.serial_executor import run_serial
from cluster.session import ray_session
from jobs.wiring.cli import build_parser
from jobs.wiring.configuration import resolve_config
from jobs.wiring.model_source import load_configured_model, load_tokenizer
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.manifest.reading import read_manifest
from pipeline.planning.job_plan import plan_job
from pipeline.results.committer import AnswerCommitter
from pipeline.results.rows import VOLATILE_COLUMNS, RunStamp
from pipeline.settings.reading import config_hash
from tests.unit.models.tiny_checkpoint import save_tiny_checkpoint

# 600 frames in groups of 32 are 19 groups; 9 nats are above any entropy of the demo vocabulary: Lite stops early
SETTINGS = (
    "budget.token_budget=128",
    "sampling.frames_per_group=32",
    "stopping.stop_entropy=9",
    "scoring.question_batch=2",
)


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """Two videos of 600 sampled frames with three questions each (the last of each is open); its manifest's path."""
    spec = ArchiveSpec(num_frames=(600, 600), questions_per_video=3, open_questions_per_video=1, seed=4711)
    return write_archive(tmp_path_factory.mktemp("archive"), spec)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A demo model that was never trained: its answers mean nothing, but they are repeatable."""
    folder = save_tiny_checkpoint(tmp_path_factory.mktemp("model"), seed=0)
    (folder / "recipe.json").write_text("{}")  # makes the demo model's preset apply
    return folder


@pytest.fixture(scope="session")
def s3_endpoint():
    """Where an S3 store (moto's server) listens; every module makes buckets of its own."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def ray_cluster():
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ray_session(num_cpus=2):
        yield


@pytest.fixture
def stable():
    """Rows without what load may change."""
    return lambda rows: [{name: value for name, value in row.items() if name not in VOLATILE_COLUMNS} for row in rows]


@pytest.fixture
def place():
    """Options of one process: workers share what CPUs there are; their number must not decide if a test can run."""
    return {"num_cpus": 0.1}


@pytest.fixture
def read_rows():
    """All rows under an output folder, by question_id."""

    def read(output):
        files = sorted(Path(output).glob("answers/**/part-*.parquet"))
        rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
        return sorted(rows, key=lambda row: (row["question_id"], str(row["finished_at"])))

    return read


@pytest.fixture(scope="session")
def make_job(archive, model_folder, tmp_path_factory):
    def make(method, *, num_scorers=1, num_decoders=1, model=model_folder, **sets):
        execution = {"execution.num_scorers": num_scorers, "execution.num_decoders": num_decoders, **sets}
        pairs = [*SETTINGS, *(f"{key}={value}" for key, value in execution.items())]
        arguments = ["--manifest", str(archive), "--model", str(model), "--method", method]
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
            num_videos=len(plan.tasks),
            config=config,
            layout=identity.layout,
            tokenizer=load_tokenizer(config),
            stamp=stamp,
            load_model=load_configured_model,
        )

    return make


@pytest.fixture(scope="session")
def rows_of(archive, tmp_path_factory):
    """Commit what an executor yields; returns the rows as the Parquet files hold them."""

    def collect(events):
        committer = AnswerCommitter(read_manifest(str(archive)), output_uri=str(tmp_path_factory.mktemp("rows")))
        outcomes = [event for event in events if isinstance(event, VideoOutcome)]
        assert sorted(outcome.video_id for outcome in outcomes) == [0, 1]
        rows = [row for outcome in outcomes for row in committer.commit(outcome.rows).to_pylist()]
        return sorted(rows, key=lambda row: row["question_id"])

    return collect


@pytest.fixture(scope="session")
def serial_rows(make_job, rows_of):
    """The reference, once per method."""
    known = {}

    def run(method):
        if method not in known:
            known[method] = rows_of(run_serial(make_job(method)))
        return known[method]

    return run
