import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.attention_probe import PROBED_ATTENTION
from pipeline.models.loading import check_reference_layer, describe_model, load_model
from pipeline.models.qwen.qwen3_vl import Qwen3VL
from pipeline.settings.config import ModelConfig, ScoringConfig
from pipeline.settings.presets import preset_for
from tests.unit.models.qwen3.tiny_qwen3 import build_model


@pytest.fixture(scope="module")
def original(tokenizer):
    return build_model(tokenizer, kind="wide", seed=2)


@pytest.fixture(scope="module")
def saved(original, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen3")
    original.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def look(model):
    """Everything that one question about one fixed clip gives."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)
    geometry = model.frame_geometry(64, 96, min_pixels=1_024, max_pixels=10_000)
    prefix = model.prefill(model.encode(frames, geometry, batch_patches=2), geometry, patch_s=1.0)
    prompt = model.build_question("What?", ("red", "blue"), response_tokens=1)
    (response,) = model.score(prefix, [prompt], ScoringConfig(reference_layer=1))
    return response


def test_a_saved_checkpoint_answers_like_the_model_that_was_saved(saved, original, as_adapter):
    loaded = load_model(ModelConfig(model=str(saved)), torch_threads=1, device="cpu")
    expected, actual = look(as_adapter(original)), look(loaded)
    assert isinstance(loaded, Qwen3VL)
    assert loaded._model.config.text_config._attn_implementation == PROBED_ATTENTION
    assert actual.option_probabilities == pytest.approx(expected.option_probabilities, abs=1e-6)
    assert actual.entropies == pytest.approx(expected.entropies, abs=1e-5)
    assert actual.attention_N == pytest.approx(expected.attention_N, abs=1e-6)
    assert (loaded.name, loaded.revision) == (str(saved), describe_model(ModelConfig(model=str(saved))).revision)


def test_identity_says_family_and_shapes_without_weights(saved):
    identity = describe_model(ModelConfig(model=str(saved)))
    layout = identity.layout
    assert identity.family == "qwen3_vl"
    assert (layout.num_layers, layout.frames_per_patch, layout.max_positions) == (4, 2, 262_144)
    assert layout.frame_geometry(64, 96, min_pixels=1_024, max_pixels=10_000).tokens_per_patch == 6
    check_reference_layer(layout, 3)
    with pytest.raises(ValueError, match=r"layers 0 to 3, got 4"):
        check_reference_layer(layout, 4)


def test_missing_deepstack_weights_are_a_model_failure(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    dropped = [name for name in weights if "deepstack_merger_list.2" in name]
    save_file(
        {name: weight for name, weight in weights.items() if name not in dropped},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(PipelineError, match=f"{len(dropped)} weights are missing .*deepstack_merger_list") as caught:
        load_model(ModelConfig(model=str(folder)), device="cpu")
    assert caught.value.failure_class is FailureClass.MODEL
    assert len(dropped) == 6


def test_the_mixture_of_experts_family_is_refused_by_name(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "qwen3_vl_moe"}))
    with pytest.raises(PipelineError, match=r"is of the family 'qwen3_vl_moe'; .*known here: .*qwen3_vl"):
        describe_model(ModelConfig(model=str(folder)))


def test_half_precision_weights_keep_the_answer_close(saved):
    full, half = (
        look(load_model(ModelConfig(model=str(saved), dtype=dtype), device="cpu")) for dtype in ("float32", "bfloat16")
    )
    assert half.option_probabilities == pytest.approx(full.option_probabilities, abs=0.05)
    assert torch.isfinite(torch.from_numpy(half.attention_N)).all()


@pytest.mark.parametrize(("num_layers", "layer"), [(28, 20), (36, 25), (64, 45)])
def test_the_preset_scales_the_probed_layer_to_the_published_depths(num_layers, layer):
    preset = preset_for("Qwen/Qwen3-VL-8B-Instruct", num_layers=num_layers, is_demo=False, family="qwen3_vl")
    assert preset.scoring.reference_layer == layer
    assert preset.answering.positions == "absolute"
