"""One Ray, one small archive of real H.264 files, and one demo model with random weights, for all integration tests."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.session import ray_session
from pipeline.demo.architecture import build_demo_model
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.demo.vocabulary import build_tokenizer


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """Two videos of 600 sampled frames with three questions each (the last of each is open); its manifest's path."""
    spec = ArchiveSpec(num_frames=(600, 600), questions_per_video=3, open_questions_per_video=1, seed=4711)
    return write_archive(tmp_path_factory.mktemp("archive"), spec)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A demo model that was never trained: its answers mean nothing, but they are repeatable."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer()
    build_demo_model(tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "recipe.json").write_text("{}")  # makes the demo model's preset apply
    return folder


@pytest.fixture(scope="session")
def ray_cluster():
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ray_session(num_cpus=2):
        yield


@pytest.fixture
def read_rows():
    """All rows under an output folder, by question_id."""

    def read(output):
        files = sorted(Path(output).glob("answers/**/part-*.parquet"))
        rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
        return sorted(rows, key=lambda row: (row["question_id"], str(row["finished_at"])))

    return read
