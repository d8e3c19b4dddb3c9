import copy

import pytest
import torch

from pipeline.models.devices.gpu_layers import fit_layers_to_gpu, fit_tower
from tests.unit.models.tiny_models import BUILDERS


def tower_of(family):
    model, _ = BUILDERS[family]()
    return model, copy.deepcopy(model.model.visual)


def patches(tower, count):
    config = tower.config
    values = config.in_channels * config.temporal_patch_size * config.patch_size**2
    return torch.randn(count, values, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_a_fitted_tower_gives_the_same_features(family):
    _, tower = tower_of(family)
    fitted = copy.deepcopy(tower)
    fit_tower(fitted)
    merge = tower.config.spatial_merge_size
    grid = torch.tensor([[2, 3 * merge, 2 * merge]])
    pixels = patches(tower, int(grid.prod()))
    with torch.inference_mode():
        expected, actual = (part(pixels, grid_thw=grid).pooler_output for part in (tower, fitted))
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=0)


def test_an_odd_mlp_width_is_padded_to_a_multiple_of_8_with_zeros():
    _, tower = tower_of("qwen2_5_vl")
    mlp = tower.blocks[0].mlp
    width = mlp.down_proj.in_features
    for name in ("gate_proj", "up_proj"):  # three units fewer
        linear = getattr(mlp, name)
        linear.weight = torch.nn.Parameter(linear.weight[:-3].detach())
        linear.bias = torch.nn.Parameter(linear.bias[:-3].detach() + 0.5)
        linear.out_features = width - 3
    mlp.down_proj.weight = torch.nn.Parameter(mlp.down_proj.weight[:, :-3].detach())
    mlp.down_proj.in_features = width - 3
    values = torch.randn(7, mlp.gate_proj.in_features, generator=torch.Generator().manual_seed(3))
    expected = mlp(values)
    fit_tower(tower)
    assert mlp.gate_proj.weight.shape[0] == mlp.down_proj.weight.shape[1] == mlp.down_proj.in_features
    assert mlp.down_proj.in_features % 8 == 0
    assert mlp.down_proj.in_features >= width - 3
    torch.testing.assert_close(mlp(values), expected, atol=1e-6, rtol=0)


def test_nothing_is_changed_off_a_gpu():
    model, _ = tower_of("qwen2_5_vl")
    before = model.model.visual.patch_embed.proj
    fit_layers_to_gpu(model)
    assert model.model.visual.patch_embed.proj is before
