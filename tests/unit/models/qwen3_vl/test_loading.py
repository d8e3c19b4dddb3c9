import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.loading import describe_model, load_model
from pipeline.settings.config import ModelConfig
from pipeline.settings.presets import preset_for


def test_identity_says_how_many_tokens_a_frame_has(checkpoint):
    layout = describe_model(ModelConfig(model=str(checkpoint))).layout
    assert layout.frame_geometry(64, 96, min_pixels=1_024, max_pixels=10_000).tokens_per_patch == 6


def test_missing_deepstack_weights_are_a_model_failure(case, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    last = len(case.stock.config.vision_config.deepstack_visual_indexes) - 1
    dropped = [name for name in weights if f"deepstack_merger_list.{last}" in name]
    save_file(
        {name: weight for name, weight in weights.items() if name not in dropped},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(PipelineError, match=f"{len(dropped)} weights are missing .*deepstack_merger_list") as caught:
        load_model(ModelConfig(model=str(folder)), device="cpu")
    assert caught.value.failure_class is FailureClass.MODEL
    assert len(dropped) == 6


@pytest.mark.parametrize("case", ["qwen3_vl_moe-experts"], indirect=True)
def test_experts_as_published_have_one_column_per_output(case, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    turned = {name: weight.mT.contiguous() for name, weight in weights.items() if ".mlp.experts." in name}
    save_file(weights | turned, folder / "model.safetensors", metadata={"format": "pt"})
    loaded = load_model(ModelConfig(model=str(folder)), device="cpu")._model.state_dict()
    text, expected = case.stock.config.text_config, case.stock.state_dict()
    assert len(turned) == 2 * (text.num_hidden_layers - len(text.mlp_only_layers)) > 0
    assert {weight.shape[1] for weight in turned.values()} == {text.hidden_size, text.moe_intermediate_size}
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("num_layers", "layer"), [(28, 20), (36, 25), (64, 45)])
def test_the_preset_scales_the_probed_layer_to_the_published_depths(num_layers, layer):
    preset = preset_for("Qwen/Qwen3-VL-8B-Instruct", num_layers=num_layers, is_demo=False, family="qwen3_vl")
    assert preset.scoring.reference_layer == layer
    assert preset.answering.positions == "absolute"
