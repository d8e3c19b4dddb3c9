"""From a name to a checkpoint, and what becomes of broken ones, on one family: loading is the same for all."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.failures import FailureClass, PipelineError
from pipeline.models import loading
from pipeline.models.checkpoints import source as checkpoint_source
from pipeline.models.loading import check_reference_layer, describe_model, load_model
from pipeline.settings.config import ModelConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(saved, tmp_path / "checkpoint")


def test_identity_needs_no_weights_in_memory(saved, monkeypatch):
    monkeypatch.delattr(loading, "_load_weights")
    identity = describe_model(ModelConfig(model=str(saved)))
    assert (identity.name, identity.family) == (str(saved), "qwen2_5_vl")
    assert (identity.layout.num_layers, identity.layout.frames_per_patch) == (4, 2)
    assert len(identity.revision) == 16
    assert int(identity.revision, 16) >= 0


def test_demo_means_the_folder_that_ships_with_the_package(saved, monkeypatch):
    monkeypatch.setattr(checkpoint_source, "_DEMO_FOLDER", saved)
    identity = describe_model(ModelConfig(model="demo"))
    assert (identity.name, identity.revision) == ("demo", describe_model(ModelConfig(model=str(saved))).revision)


@pytest.mark.parametrize(
    ("change", "is_other_model"),
    [
        ("weight", True),
        ("config.json", True),
        ("tokenizer_config.json", True),
        ("chat_template.jinja", True),
        ("README.md", False),
        ("training_log.json", False),
    ],
)
def test_revision_changes_with_what_can_change_an_answer(folder, change, is_other_model):
    before = describe_model(ModelConfig(model=str(folder))).revision
    if change == "weight":
        weights = load_file(folder / "model.safetensors")
        name = sorted(weights)[0]
        weights[name].view(-1)[0] += 1e-3
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        path = folder / change
        path.write_text((path.read_text() if path.exists() else "") + "\n")
    assert (describe_model(ModelConfig(model=str(folder))).revision != before) == is_other_model


def test_revision_does_not_depend_on_where_the_folder_lies(saved, folder):
    revisions = {describe_model(ModelConfig(model=str(path))).revision for path in (saved, folder)}
    assert len(revisions) == 1


def _only_pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _set_family(family):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"model_type": family}))

    return change


def _drop_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights[next(name for name in weights if name.endswith("merger.mlp.0.weight"))]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _truncate(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "folder that does not exist: .*give an existing folder"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json in"),
        (_only_pickled, r"has no \*.safetensors .*pickled weights \(\*.bin\) are refused"),
        (_set_family("bert"), "is of the family 'bert'; .*known here: .*qwen2_5_vl"),
        (_set_family("perceiver9000"), "is of the family 'perceiver9000'; .*known here: .*qwen2_5_vl"),
        (lambda folder: (folder / "config.json").write_text("{"), "has a config.json that cannot be read"),
        (_drop_weight, "1 weights are missing from its files, such as .*visual.merger.mlp.0.weight"),
        (_truncate, r"has a damaged file model.safetensors \(it has .* bytes, its head says .*copy that file again"),
        (
            lambda folder: (folder / "chat_template.jinja").unlink(),
            "cannot be asked .*: the chat template fails .*chat_template.json",
        ),
    ],
)
def test_a_broken_checkpoint_is_a_model_failure_that_names_the_remedy(folder, damage, message):
    damage(folder)
    with pytest.raises(PipelineError, match=f"(?s)model '{folder}' .*{message}") as caught:
        load_model(ModelConfig(model=str(folder)), device="cpu")
    assert caught.value.failure_class is FailureClass.MODEL


def test_a_demo_model_that_was_not_trained_yet_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_source, "_DEMO_FOLDER", tmp_path / "model")
    with pytest.raises(PipelineError, match=r"model 'demo' is a folder that does not exist: .*train it first"):
        load_model(ModelConfig(model="demo"))


def test_an_unreachable_hub_is_a_model_failure(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("We couldn't connect to 'https://huggingface.co'")

    monkeypatch.setattr(checkpoint_source, "cached_file", fail)
    with pytest.raises(PipelineError, match=r"'Qwen/Some-Model' at revision v1 .*couldn't connect.*check the spelling"):
        describe_model(ModelConfig(model="Qwen/Some-Model", revision="v1"))


def test_revision_of_a_hub_id_is_the_commit_it_resolves_to(saved, tmp_path, monkeypatch):
    snapshot = tmp_path / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    calls = []

    def fetch(name, filename, *, revision):
        calls.append((name, filename, revision))
        return str(snapshot / filename)

    monkeypatch.setattr(checkpoint_source, "cached_file", fetch)
    monkeypatch.setattr(checkpoint_source, "snapshot_download", lambda name, **_: str(saved))
    identity = describe_model(ModelConfig(model="Qwen/Some-Model", revision="main"))
    assert identity.revision == COMMIT
    assert calls == [("Qwen/Some-Model", "config.json", "main")]


@pytest.mark.parametrize("layer", [0, 3])
def test_reference_layers_of_the_model_are_accepted(saved, layer):
    check_reference_layer(describe_model(ModelConfig(model=str(saved))).layout, layer)


@pytest.mark.parametrize("layer", [-1, 4, 20])
def test_a_reference_layer_the_model_does_not_have_is_refused(saved, layer):
    layout = describe_model(ModelConfig(model=str(saved))).layout
    with pytest.raises(ValueError, match=f"scoring.reference_layer must be .* 0 to 3, got {layer}"):
        check_reference_layer(layout, layer)
