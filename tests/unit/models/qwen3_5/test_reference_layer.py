"""Which layer may rank tokens where most layers have no keys."""

import json
import shutil

import pytest

from pipeline.models.interface import ranking_layers
from pipeline.models.loading import check_reference_layer, describe_model
from pipeline.models.qwen.layout import QwenLayout
from pipeline.models.qwen.preprocess import PatchGeometry
from pipeline.models.qwen.qwen3_layout import Qwen35Layout
from pipeline.settings.config import ModelConfig
from pipeline.settings.presets import preset_for

COMMON = {"frames_per_patch": 2, "max_positions": 262_144, "feature_width": 32, "patches": PatchGeometry()}


def layout(num_layers, *, interval=4):
    layers = tuple(range(interval - 1, num_layers, interval))
    return Qwen35Layout(num_layers=num_layers, ranking_layers=layers, **COMMON)


@pytest.mark.parametrize(
    ("layer", "nearest"), [(0, "the nearest: 3;"), (20, "the nearest: 19 or 23;"), (22, "the nearest: 19 or 23;")]
)
def test_a_linear_layer_is_refused_with_the_nearest_ones_that_can_rank(layer, nearest):
    with pytest.raises(ValueError, match=f"a layer with full attention, got {layer}, .*{nearest}"):
        check_reference_layer(layout(32), layer)


def test_full_layers_are_taken_and_layers_that_are_not_there_refused_as_ever():
    for layer in (3, 31):
        check_reference_layer(layout(32), layer)
    with pytest.raises(ValueError, match="layers 0 to 31, got 32"):
        check_reference_layer(layout(32), 32)


def test_other_families_rank_at_every_layer():
    other = QwenLayout(num_layers=3, tokens_per_second=2.0, **COMMON)
    assert ranking_layers(other) == (0, 1, 2)


# Depths of Qwen3.5-0.8B, 9B, 35B-A3B and 27B; five sevenths of them are 17, 22, 28 and 45.
@pytest.mark.parametrize(("num_layers", "layer"), [(24, 19), (32, 23), (40, 27), (64, 47)])
def test_the_preset_takes_the_nearest_full_layer_the_later_one_in_a_tie(num_layers, layer):
    found = layout(num_layers)
    preset = preset_for(
        "m", num_layers=num_layers, is_demo=False, family="qwen3_5", ranking_layers=ranking_layers(found)
    )
    assert preset.scoring.reference_layer == layer
    check_reference_layer(found, layer)


def test_a_checkpoint_says_which_layers_can_rank(case, checkpoint):
    found = describe_model(ModelConfig(model=str(checkpoint))).layout
    kinds = case.stock.config.text_config.layer_types
    assert ranking_layers(found) == tuple(n for n, kind in enumerate(kinds) if kind == "full_attention")
    assert case.adapter.ranking_layers == ranking_layers(found)
    assert len(ranking_layers(found)) < found.num_layers


def test_a_checkpoint_of_linear_layers_only_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["layer_types"] = ["linear_attention"] * config["text_config"]["num_hidden_layers"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Exception, match="none of its layers has full attention"):
        describe_model(ModelConfig(model=str(folder)))
