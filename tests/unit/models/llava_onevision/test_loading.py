import json
import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.checkpoint_config import read_checkpoint
from pipeline.models.devices.map import module_devices
from pipeline.models.devices.memory_plan import measure_model
from pipeline.models.loading import _load_weights, describe_model, load_model
from pipeline.settings.config import ModelConfig
from tests.unit.models.checkpoints.published_layout import write_published


def test_a_missing_line_break_is_a_model_failure(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: weight for name, weight in weights.items() if "image_newline" not in name},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(
        PipelineError, match=r"no weights of 1 parts of the model, such as model\.image_newline"
    ) as error:
        load_model(ModelConfig(model=str(folder)), device="cpu")
    assert error.value.failure_class is FailureClass.MODEL


def test_a_text_model_that_shares_its_embedding_is_believed_though_the_top_level_denies_it(case, tmp_path):
    """As the smallest published size says it: stock code goes by the text model's word."""
    write_published(tmp_path, case.stock, case.tokenizer)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert config["tie_word_embeddings"] is False
    config["text_config"]["tie_word_embeddings"] = True
    path.write_text(json.dumps(config))
    for shard in tmp_path.glob("*.safetensors"):
        kept = {name: weight for name, weight in load_file(shard).items() if "lm_head" not in name}
        save_file(kept, shard, metadata={"format": "pt"})
    (tmp_path / "model.safetensors.index.json").unlink()
    for number, shard in enumerate(sorted(tmp_path.glob("*.safetensors"))):
        shard.rename(tmp_path / f"part-{number}.safetensors")
    merged = {name: weight for part in tmp_path.glob("part-*") for name, weight in load_file(part).items()}
    for part in tmp_path.glob("part-*"):
        part.unlink()
    save_file(merged, tmp_path / "model.safetensors", metadata={"format": "pt"})
    head = case.stock.lm_head.weight.numel()
    whole = sum(parameter.numel() for parameter in case.stock.parameters())
    assert read_checkpoint("m", tmp_path).size.num_parameters == whole - head
    model = load_model(ModelConfig(model=str(tmp_path)), device="cpu").stock
    assert model.lm_head.weight.data_ptr() == model.model.language_model.embed_tokens.weight.data_ptr()


def test_over_several_devices_the_line_break_lies_with_the_first_and_nothing_is_warned_of(case, checkpoint):
    size = measure_model(type(case.stock), case.stock.config)
    places = {0: "cpu", 1: "meta"}  # the host, and one that holds shapes
    numbers = module_devices(size, (len(size.layers) - 1, 1))
    assert numbers["model.image_newline"] == 0
    device_map = {part: places[number] for part, number in numbers.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = _load_weights(type(case.stock), str(checkpoint), dtype=torch.float32, device_map=device_map)
    assert loaded.lm_head.weight.is_meta
    assert torch.equal(loaded.model.image_newline, case.stock.model.image_newline)


def test_identity_says_the_trained_square(case, checkpoint):
    layout = describe_model(ModelConfig(model=str(checkpoint))).layout
    geometry = layout.frame_geometry(720, 1_280, min_pixels=100_352, max_pixels=172_480)
    assert (geometry.height, geometry.tokens_per_patch) == (case.geometry.height, case.geometry.tokens_per_patch)
