import json
import shutil

import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.loading import describe_model, load_model
from pipeline.settings.config import ModelConfig
from pipeline.settings.presets import preset_for


def test_identity_says_the_trained_square(case, checkpoint):
    layout = describe_model(ModelConfig(model=str(checkpoint))).layout
    side = case.geometry.token_rows
    assert side == {64: 2, 48: 3}[case.stock.config.text_config.hidden_size]
    geometry = layout.frame_geometry(720, 1_280, min_pixels=100_352, max_pixels=172_480)
    assert (geometry.height, geometry.tokens_per_patch) == (28 * side, side**2)


def test_a_checkpoint_in_the_authors_remote_code_format_is_refused_without_running_it(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "InternVL2_5-8B")
    (folder / "modeling_internvl_chat.py").write_text("raise SystemExit('remote code ran')")
    remote = {
        "model_type": "internvl_chat",
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoConfig": "modeling_internvl_chat.InternVLChatConfig"},
    }
    (folder / "config.json").write_text(json.dumps(remote))
    with pytest.raises(PipelineError, match=r"of the family 'internvl_chat', .*known here: .*internvl, ") as caught:
        load_model(ModelConfig(model=str(folder)), device="cpu")
    assert caught.value.failure_class is FailureClass.MODEL


def test_a_tokenizer_without_the_frame_tokens_is_a_model_failure(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
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
