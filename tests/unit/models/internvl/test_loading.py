import json
import shutil

import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.loading import describe_model, load_model
from pipeline.settings.config import ModelConfig, ScoringConfig
from pipeline.settings.presets import preset_for
from tests.unit.models.internvl.tiny_internvl import SHAPES, build_model


@pytest.fixture(scope="module", params=SHAPES)
def saved(request, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    build_model(tokenizer, request.param).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return request.param, folder


def look(model):
    """Everything that one question about one fixed clip gives."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 60, 80, 3), dtype=np.uint8)
    geometry = model.frame_geometry(60, 80, min_pixels=1, max_pixels=10**6)
    prefix = model.prefill(model.encode(frames, geometry, batch_patches=2), geometry, patch_s=1.0)
    prompt = model.build_question("What colour?", ("red", "blue"), response_tokens=1)
    (response,) = model.score(prefix, [prompt], ScoringConfig(reference_layer=1))
    return response


def test_a_saved_checkpoint_answers_like_the_model_that_was_saved(saved, tokenizer, as_adapter):
    shape, folder = saved
    loaded = load_model(ModelConfig(model=str(folder)), torch_threads=1, device="cpu")
    expected, actual = look(as_adapter(build_model(tokenizer, shape))), look(loaded)
    assert actual.option_probabilities == pytest.approx(expected.option_probabilities, abs=1e-6)
    assert actual.entropies == pytest.approx(expected.entropies, abs=1e-5)
    assert actual.attention_N == pytest.approx(expected.attention_N, abs=1e-6)


def test_identity_says_what_the_planner_needs(saved):
    shape, folder = saved
    identity = describe_model(ModelConfig(model=str(folder)))
    assert identity.family == "internvl"
    layout = identity.layout
    assert (layout.frames_per_patch, layout.num_layers, layout.max_positions) == (1, 3, 4_096)
    side = {"qwen2-text": 2, "qwen3-text": 3}[shape]
    geometry = layout.frame_geometry(720, 1_280, min_pixels=100_352, max_pixels=172_480)
    assert (geometry.height, geometry.tokens_per_patch) == (28 * side, side**2)


def test_a_checkpoint_in_the_authors_remote_code_format_is_refused_without_running_it(saved, tmp_path):
    folder = shutil.copytree(saved[1], tmp_path / "InternVL2_5-8B")
    (folder / "modeling_internvl_chat.py").write_text("raise SystemExit('remote code ran')")
    remote = {
        "model_type": "internvl_chat",
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoConfig": "modeling_internvl_chat.InternVLChatConfig"},
    }
    (folder / "config.json").write_text(json.dumps(remote))
    with pytest.raises(PipelineError, match=r"(?s)transformers cannot read .*known here: internvl, ") as caught:
        load_model(ModelConfig(model=str(folder)), device="cpu")
    assert caught.value.failure_class is FailureClass.MODEL


def test_a_tokenizer_without_the_frame_tokens_is_a_model_failure(saved, tmp_path):
    folder = shutil.copytree(saved[1], tmp_path / "checkpoint")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text((folder / name).read_text().replace("<img>", "<pic>"))
    with pytest.raises(PipelineError, match="cannot be asked about a video: the tokenizer has no token '<img>'"):
        load_model(ModelConfig(model=str(folder)), device="cpu")


@pytest.mark.parametrize(("num_layers", "layer"), [(32, 15), (28, 13), (36, 16), (24, 11), (1, 0)])
def test_reference_layer_stands_at_the_height_probed_for_internvl2_5(num_layers, layer):
    preset = preset_for("OpenGVLab/InternVL3-8B-hf", num_layers=num_layers, is_demo=False, family="internvl")
    assert preset.scoring.reference_layer == layer
    assert preset.answering.positions == "compact"
    assert preset.sampling.frames_per_group == 64
