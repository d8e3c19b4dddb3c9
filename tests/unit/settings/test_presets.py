import pytest

from pipeline.settings.config import RunConfig
from pipeline.settings.presets import preset_for


@pytest.mark.parametrize(("num_layers", "layer"), [(28, 20), (36, 25), (64, 45), (80, 57), (1, 0)])
def test_reference_layer_stands_at_the_height_probed_for_the_7b_model(num_layers, layer):
    preset = preset_for("Qwen/Qwen2.5-VL", num_layers=num_layers, is_demo=False)
    assert preset.scoring.reference_layer == layer


def test_the_7b_preset_is_the_default_configuration_but_for_the_model_name():
    preset = preset_for("Qwen/Qwen2.5-VL-7B-Instruct", num_layers=28, is_demo=False)
    default = RunConfig()
    assert preset.model.model == "Qwen/Qwen2.5-VL-7B-Instruct"
    for section in ("sampling", "scoring", "budget", "stopping", "answering", "execution"):
        assert getattr(preset, section) == getattr(default, section)


def test_the_demo_preset_shows_small_frames_and_separates_groups_sharply():
    preset = preset_for("some/folder", num_layers=4, is_demo=True)
    assert preset.model.model == "some/folder"
    assert (preset.sampling.min_pixels, preset.sampling.max_pixels) == (784, 4_704)
    assert preset.budget.tau < RunConfig().budget.tau
    assert 0 <= preset.scoring.reference_layer < 4


@pytest.mark.parametrize(("num_layers", "is_demo"), [(0, False), (1, True)])
def test_a_model_without_the_reference_layer_is_refused(num_layers, is_demo):
    with pytest.raises(ValueError, match=r"num_layers must be at least .* for model 'tiny'"):
        preset_for("tiny", num_layers=num_layers, is_demo=is_demo)
