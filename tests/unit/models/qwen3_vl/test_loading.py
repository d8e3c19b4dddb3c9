import json
import shutil

import pytest
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


def test_the_mixture_of_experts_family_is_refused_by_name(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "qwen3_vl_moe"}))
    with pytest.raises(PipelineError, match=r"is of the family 'qwen3_vl_moe'; .*known here: .*qwen3_vl"):
        describe_model(ModelConfig(model=str(folder)))


@pytest.mark.parametrize(("num_layers", "layer"), [(28, 20), (36, 25), (64, 45)])
def test_the_preset_scales_the_probed_layer_to_the_published_depths(num_layers, layer):
    preset = preset_for("Qwen/Qwen3-VL-8B-Instruct", num_layers=num_layers, is_demo=False, family="qwen3_vl")
    assert preset.scoring.reference_layer == layer
    assert preset.answering.positions == "absolute"
