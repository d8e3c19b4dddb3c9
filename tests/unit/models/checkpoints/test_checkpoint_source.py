"""Which files a name stands for, and at which revision."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.checkpoints import source as checkpoint_source
from pipeline.models.checkpoints.files import is_checkpoint_file
from pipeline.models.checkpoints.source import find_checkpoint
from pipeline.models.loading import describe_model, load_model
from pipeline.settings.config import ModelConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(saved, tmp_path / "checkpoint")


@pytest.mark.parametrize(
    "name",
    [
        "model-00001-of-00005.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "tokenizer_config.json",
        "merges.txt",
        "chat_template.jinja",
    ],
)
def test_files_of_a_checkpoint_are_its(name):
    assert is_checkpoint_file(name)


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "model.pt", "modeling_x.py", "training_args.bin", "README.md", "optimizer.pt", "notes.txt"],
)
def test_pickles_code_and_notes_are_no_part_of_a_checkpoint(name):
    assert not is_checkpoint_file(name)


def split_weights(folder):
    """Two shards with an index, as large checkpoints have them."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, shards = sorted(weights), ("model-1-of-2.safetensors", "model-2-of-2.safetensors")
    for number, shard in enumerate(shards):
        save_file({name: weights[name] for name in names[number::2]}, folder / shard, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: shards[i % 2] for i, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return shards


def test_a_checkpoint_in_shards_loads(folder):
    split_weights(folder)
    assert load_model(ModelConfig(model=str(folder)), device="cpu").num_layers == 4


def test_a_missing_shard_is_named_without_reading_weights(folder):
    shards = split_weights(folder)
    (folder / shards[1]).unlink()
    with pytest.raises(PipelineError, match=rf"lacks 1 of the 2 files .*index.json names, such as {shards[1]}; copy"):
        describe_model(ModelConfig(model=str(folder)))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_a_damaged_index_is_a_model_failure(folder, content):
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(PipelineError, match=r"has an unreadable model\.safetensors\.index") as caught:
        describe_model(ModelConfig(model=str(folder)))
    assert caught.value.failure_class is FailureClass.MODEL


def test_a_folder_at_the_recorded_revision_loads_and_a_changed_one_does_not(folder):
    revision = describe_model(ModelConfig(model=str(folder))).revision
    pinned = ModelConfig(model=str(folder), revision=revision)
    assert load_model(pinned, device="cpu").revision == revision
    (folder / "generation_config.json").write_text("{}")
    with pytest.raises(PipelineError, match=rf"is at revision [0-9a-f]{{16}} here, not at {revision}; its files have"):
        load_model(pinned, device="cpu")


@pytest.mark.parametrize("name", ["http://host/model", "ftp://host/model"])
def test_other_schemes_are_refused(name):
    with pytest.raises(PipelineError, match="has a scheme that is not known; give a folder, a hub id or s3://"):
        describe_model(ModelConfig(model=name))


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A hub that holds ``folder`` and whose branch ``main`` is one commit; its calls are recorded."""
    snapshot, calls = tmp_path / "snapshots" / COMMIT, []
    snapshot.mkdir(parents=True)

    def fetch_one(name, file_name, *, revision):
        calls.append((file_name, revision))
        shutil.copy(folder / file_name, snapshot)
        return str(snapshot / file_name)

    def fetch_all(name, *, revision, allow_patterns, ignore_patterns):
        calls.append(("all files" if "*.safetensors" in allow_patterns else "planning files", revision))
        for path in folder.iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                shutil.copy(path, snapshot)
        return str(snapshot)

    monkeypatch.setattr(checkpoint_source, "cached_file", fetch_one)
    monkeypatch.setattr(checkpoint_source, "snapshot_download", fetch_all)
    return calls


def test_describing_a_hub_id_fetches_no_weights_but_all_that_makes_a_prompt(hub, tmp_path):
    assert describe_model(ModelConfig(model="Qwen/Some", revision="main")).revision == COMMIT
    assert hub == [("config.json", "main"), ("planning files", COMMIT)]
    fetched = {path.name for path in (tmp_path / "snapshots" / COMMIT).iterdir()}
    assert fetched == {"config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}


def test_a_template_file_beside_the_tokenizers_own_comes_from_the_hub_too(hub, folder):
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert describe_model(ModelConfig(model="Qwen/Some")).revision == COMMIT
    assert load_model(ModelConfig(model="Qwen/Some"), device="cpu").num_layers == 4


def test_a_worker_loads_the_commit_it_was_given_whatever_the_branch_is_by_then(hub):
    loaded = load_model(ModelConfig(model="Qwen/Some", revision=COMMIT), device="cpu")
    assert (loaded.name, loaded.revision) == ("Qwen/Some", COMMIT)
    assert hub == [("config.json", COMMIT), ("planning files", COMMIT), ("all files", COMMIT)]


def test_a_hub_that_goes_away_between_looking_and_loading_is_a_model_failure(hub, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("connection reset")

    monkeypatch.setattr(checkpoint_source, "snapshot_download", fail)
    with pytest.raises(
        PipelineError, match=rf"'Qwen/Some' at revision {COMMIT} .*connection reset.*check the spelling"
    ):
        load_model(ModelConfig(model="Qwen/Some"), device="cpu")


def test_a_hub_copy_without_weights_is_a_model_failure(hub, monkeypatch):
    fetch_all = checkpoint_source.snapshot_download

    def fetch_some(name, *, revision, allow_patterns, ignore_patterns):
        patterns = [pattern for pattern in allow_patterns if "safetensors" not in pattern]
        return fetch_all(name, revision=revision, allow_patterns=patterns, ignore_patterns=ignore_patterns)

    monkeypatch.setattr(checkpoint_source, "snapshot_download", fetch_some)
    with pytest.raises(PipelineError, match=r"has no \*.safetensors in .*convert them to safetensors"):
        load_model(ModelConfig(model="Qwen/Some"), device="cpu")


def test_files_of_a_folder_are_used_where_they_lie(saved, tmp_path):
    found = find_checkpoint(ModelConfig(model=str(saved)), cache_dir=str(tmp_path))
    with found.planning_files() as planning, found.all_files() as everything:
        assert planning == everything == saved
    assert list(tmp_path.iterdir()) == []
