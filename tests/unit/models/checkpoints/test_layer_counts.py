"""Numbers of layers that a configuration and its files do not share."""

from types import SimpleNamespace

import pytest

from pipeline.models.checkpoints.layer_counts import check_announced, check_layer_counts
from pipeline.models.loading import describe_model
from pipeline.settings.config import ModelConfig
from tests.attacks.chat_templates import NUM_LAYERS, change_layers
from tests.unit.models.tiny_checkpoint import save_tiny_checkpoint

NAMES = (
    *(f"model.language_model.layers.{index}.mlp.up_proj.weight" for index in range(4)),
    *(f"model.visual.blocks.{index}.attn.qkv.weight" for index in range(2)),
    *("lm_head.weight", "model.visual.merger.mlp.0.weight", "model.visual.deepstack_merger_list.7.norm.weight"),
)


def config(text, vision):
    return SimpleNamespace(
        get_text_config=lambda: SimpleNamespace(num_hidden_layers=text), vision_config=SimpleNamespace(depth=vision)
    )


def test_equal_numbers_pass_and_so_do_files_that_are_not_known():
    check_layer_counts(config(4, 2), NAMES)
    check_layer_counts(config(80, 32), ())


@pytest.mark.parametrize(
    ("text", "vision", "message"),
    [
        (3, 2, "says 3 layers of the language model, its files hold 4"),
        (4, 3, "says 3 layers of the vision tower, its files hold 2"),
    ],
)
def test_others_are_refused_by_both_numbers(text, vision, message):
    with pytest.raises(ValueError, match=message):
        check_layer_counts(config(text, vision), NAMES)


@pytest.mark.parametrize(
    "raw",
    [
        {"num_hidden_layers": 10**9},
        {"text_config": {"num_hidden_layers": 0}},
        {"vision_config": {"depth": -1}},
        {"vision_config": {"num_hidden_layers": 1_001}},
    ],
)
def test_numbers_that_no_model_has_are_refused_before_a_model_is_made(raw):
    with pytest.raises(ValueError, match="there must be 1 to 1000 layers"):
        check_announced(raw)
    check_announced({"num_hidden_layers": 80, "vision_config": {"depth": 32}, "architectures": ["x"]})


@pytest.mark.parametrize("count", NUM_LAYERS)
def test_a_checkpoint_that_lies_about_its_layers_is_one_line_of_class_model(tmp_path, count):
    save_tiny_checkpoint(tmp_path)
    change_layers(tmp_path, count)
    with pytest.raises(Exception, match=f"model '{tmp_path}' has a config.json") as caught:
        describe_model(ModelConfig(model=str(tmp_path)))
    assert str(caught.value.failure_class) == "model"
    assert "\n" not in caught.value.message
