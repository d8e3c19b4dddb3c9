"""Checkpoints under an S3 prefix (moto's server): described by small files, staged once per node, pinned."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.checkpoints.in_store import StoredCheckpoint
from pipeline.models.devices import memory as device_memory
from pipeline.models.loading import describe_model, load_model, load_question_tokenizer
from pipeline.settings.config import ModelConfig, RunConfig
from pipeline.settings.sources import ReadingConfig

ROOT = Path(__file__).resolve().parents[2]
NAME = "s3://models/tiny/v1"
DESCRIBED_BY = ["chat_template.jinja", "config.json", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture(scope="module")
def options(s3_endpoint):
    return {"endpoint_url": s3_endpoint, "key": "k", "secret": "hidden"}


@pytest.fixture
def store(options, model_folder):
    """The checkpoint with what people leave beside one."""
    filesystem = fsspec.filesystem("s3", **options)
    filesystem.mkdir("models")
    for path in model_folder.iterdir():
        filesystem.pipe(f"models/tiny/v1/{path.name}", path.read_bytes())
    for name in ("pytorch_model.bin", "modeling.py", "README.md", "checkpoint-7/model.safetensors"):
        filesystem.pipe(f"models/tiny/v1/{name}", b"not to be read")
    yield filesystem
    filesystem.rm("models", recursive=True)


@pytest.fixture
def reads(monkeypatch):
    """Names of all files read or downloaded by this process."""
    seen = []
    read, download = StoredCheckpoint._read, StoredCheckpoint.download
    monkeypatch.setattr(StoredCheckpoint, "_read", lambda self, name: seen.append(name) or read(self, name))
    monkeypatch.setattr(
        StoredCheckpoint, "download", lambda self, name, path: seen.append(name) or download(self, name, path)
    )
    return seen


def load(options, tmp_path, **model):
    config = ModelConfig(model=NAME, **model)
    run = RunConfig(model=config, reading=ReadingConfig(cache_dir=str(tmp_path)))
    return load_model(config, device="cpu", run=run, storage_options=options)


def staged(tmp_path):
    return sorted(path.name for path in tmp_path.glob("*/models/*/*"))


def test_describing_reads_all_that_makes_a_prompt_and_no_weights(store, options, model_folder, reads):
    identity = describe_model(ModelConfig(model=NAME), storage_options=options)
    assert reads == DESCRIBED_BY
    assert (identity.name, identity.family, identity.layout.num_layers) == (NAME, "qwen2_5_vl", 4)
    assert len(identity.revision) == 16
    assert identity.layout == describe_model(ModelConfig(model=str(model_folder))).layout


def test_questions_are_tokenized_without_the_weights(store, options, model_folder, tmp_path, reads):
    tokenizer = load_question_tokenizer(ModelConfig(model=NAME), storage_options=options)
    assert "tokenizer.json" in reads
    assert not [name for name in reads if name.endswith(".safetensors")]
    asked = "What color is the star?", ("red", "blue")
    model = load(options, tmp_path)
    assert tokenizer.build(*asked, response_tokens=3) == model.build_question(*asked, response_tokens=3)


def test_loading_stages_what_belongs_to_the_checkpoint_and_only_once(store, options, model_folder, tmp_path, reads):
    loaded = load(options, tmp_path)
    beside = {"recipe.json", "README.md"}
    wanted = sorted(path.name for path in model_folder.iterdir() if path.name not in beside)
    assert staged(tmp_path) == wanted
    assert sorted(set(reads)) == wanted
    assert loaded.revision == describe_model(ModelConfig(model=NAME), storage_options=options).revision
    reads.clear()
    load(options, tmp_path)
    assert reads == DESCRIBED_BY
    (copy,) = tmp_path.glob("*/models/*/model.safetensors")
    assert copy.read_bytes() == (model_folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("change", "is_other_model"),
    [("model.safetensors", True), ("generation_config.json", True), ("README.md", False), ("pytorch_model.bin", False)],
)
def test_the_revision_follows_the_objects_without_reading_them(store, options, reads, change, is_other_model):
    before = describe_model(ModelConfig(model=NAME), storage_options=options).revision
    content = bytearray(store.cat_file(f"models/tiny/v1/{change}"))
    content[-1] ^= 1  # of the same size: the ETag tells
    store.pipe(f"models/tiny/v1/{change}", bytes(content))
    after = describe_model(ModelConfig(model=NAME), storage_options=options).revision
    assert (after != before) == is_other_model
    assert reads == DESCRIBED_BY * 2


def test_a_chat_template_in_a_json_file_is_fetched_for_planning_and_loading(store, options, tmp_path):
    template = store.cat_file("models/tiny/v1/chat_template.jinja").decode()
    store.rm("models/tiny/v1/chat_template.jinja")
    with pytest.raises(PipelineError, match=r"chat_template\.jinja or chat_template\.json"):
        describe_model(ModelConfig(model=NAME), storage_options=options)
    store.pipe("models/tiny/v1/chat_template.json", json.dumps({"chat_template": template}).encode())
    assert describe_model(ModelConfig(model=NAME), storage_options=options).family == "qwen2_5_vl"
    assert load(options, tmp_path).num_layers == 4


def test_a_worker_refuses_what_changed_since_the_job_described_it(store, options, tmp_path):
    revision = describe_model(ModelConfig(model=NAME), storage_options=options).revision
    assert load(options, tmp_path, revision=revision).revision == revision
    store.pipe("models/tiny/v1/generation_config.json", b"{}")
    with pytest.raises(PipelineError, match=f"not at {revision}; its files have changed") as caught:
        load(options, tmp_path, revision=revision)
    assert caught.value.failure_class is FailureClass.MODEL


def test_a_model_that_does_not_fit_is_refused_before_its_weights_are_fetched(
    store, options, tmp_path, reads, monkeypatch
):
    monkeypatch.setattr(device_memory, "free_bytes", lambda device: 1024**2)
    with pytest.raises(PipelineError, match=r"1.0 MiB are free"):
        load(options, tmp_path)
    assert reads == DESCRIBED_BY
    assert staged(tmp_path) == []


def _drop(name):
    return lambda store: store.rm_file(f"models/tiny/v1/{name}")


def _index(store):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    store.pipe("models/tiny/v1/model.safetensors.index.json", json.dumps(index).encode())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop("config.json"), "has no config.json in s3://models/tiny/v1"),
        (_drop("model.safetensors"), r"has no \*.safetensors .*convert them to safetensors"),
        (_index, "lacks 1 of the 2 files that .* names, such as model-2.safetensors; copy them to s3://"),
        (
            lambda store: store.pipe("models/tiny/v1/config.json", b"{"),
            "has a config.json that cannot be read .*copy the checkpoint again",
        ),
    ],
)
def test_a_broken_checkpoint_is_found_before_anything_large_is_fetched(store, options, reads, damage, message):
    damage(store)
    with pytest.raises(PipelineError, match=f"model '{NAME}' {message}") as caught:
        describe_model(ModelConfig(model=NAME), storage_options=options)
    assert caught.value.failure_class is FailureClass.MODEL
    assert "model.safetensors" not in reads


@pytest.mark.parametrize("name", ["s3://models/none", "s3://no-such-bucket/v1", "s3://Not_A bucket!/v1"])
def test_a_prefix_that_is_not_there_is_a_model_failure(store, options, name):
    with pytest.raises(PipelineError, match=r"does not exist; check bucket|no usable address; write s3://") as caught:
        describe_model(ModelConfig(model=name), storage_options=options)
    assert caught.value.failure_class is FailureClass.MODEL
    assert "hidden" not in caught.value.message


def test_a_store_that_does_not_answer_is_a_transfer_failure():
    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "key": "k",
        "secret": "hidden",
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 2},
    }
    with pytest.raises(PipelineError, match=r"could not be fetched .*check network and endpoint") as caught:
        describe_model(ModelConfig(model=NAME), storage_options=options)
    assert caught.value.failure_class is FailureClass.TRANSFER


_STAGE = """
import json, sys
from pipeline.settings.config import ModelConfig
from pipeline.models.checkpoints.source import find_checkpoint
from pipeline.models.checkpoints.in_store import StoredCheckpoint
download = StoredCheckpoint.download
StoredCheckpoint.download = lambda self, name, path: print(name) or download(self, name, path)
found = find_checkpoint(ModelConfig(model=sys.argv[1]), cache_dir=sys.argv[2], storage_options=json.loads(sys.argv[3]))
sys.stdin.readline()
with found.all_files() as folder:
    pass
"""


def test_two_processes_of_a_node_fetch_a_checkpoint_once(store, options, tmp_path):
    command = [sys.executable, "-c", _STAGE, NAME, str(tmp_path), json.dumps(options)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate("\n", timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(said[0] + said[1]) == staged(tmp_path)
    assert "model.safetensors" in staged(tmp_path)
