import copy

import pytest
import torch
from transformers import LlavaOnevisionConfig

from pipeline.models.llava.layout import LlavaLayout
from tests.unit.models.families.llava_onevision import side_of


def test_features_are_those_before_the_towers_last_norm(case):
    """Published checkpoints say layer -1, which is the last layer's own output: its norm must not matter."""
    changed = copy.deepcopy(case.adapter.stock)
    with torch.no_grad():
        next(m for name, m in changed.named_modules() if name.endswith("post_layernorm")).weight.mul_(3)
    other = case.as_adapter(changed)
    assert torch.equal(case.encode(other), case.encode(case.adapter))


def test_pooling_is_bilinear_over_the_frame_as_numpy_would(case):
    """Half a pixel's centre: token i lies at ``(i + 1/2) * patches / tokens - 1/2`` of the patches, per axis."""
    model, side = case.stock.model, case.geometry.token_rows
    patches = case.stock.config.vision_config.image_size // case.stock.config.vision_config.patch_size
    grid = torch.randn(1, patches, patches, 8, dtype=torch.float64)
    place = ((torch.arange(side, dtype=torch.float64) + 0.5) * patches / side - 0.5).clamp(0, patches - 1)
    low = place.floor().long().clamp(max=patches - 2)
    weights = torch.zeros(side, patches, dtype=torch.float64)
    for token, (first, at) in enumerate(zip(low.tolist(), place.tolist(), strict=True)):
        weights[token, first], weights[token, first + 1] = 1 - (at - first), at - first
    expected = torch.einsum("ri,cj,ijd->rcd", weights, weights, grid[0]).reshape(-1, 8)
    torch.testing.assert_close(model.apply_pooling(grid.flatten(1, 2))[0], expected)


@pytest.mark.parametrize(("height", "width"), [(56, 56), (1_080, 1_920), (1, 5_000)])
@pytest.mark.parametrize("pixels", [(1, 1), (10**9, 10**9)], ids=["tiny-limits", "huge-limits"])
def test_every_frame_is_shown_as_the_trained_square(case, height, width, pixels):
    geometry = case.adapter.frame_geometry(height, width, min_pixels=pixels[0], max_pixels=pixels[1])
    assert geometry.height == geometry.width == case.stock.config.vision_config.image_size
    assert geometry.token_rows == geometry.token_columns == side_of(case.stock.config)


def test_a_frame_without_pixels_is_refused(case):
    with pytest.raises(ValueError, match="at least 1 pixel, got 0 x 5"):
        case.adapter.frame_geometry(0, 5, min_pixels=1, max_pixels=1)


def test_published_checkpoints_give_196_tokens_per_frame():
    layout = LlavaLayout.from_config(LlavaOnevisionConfig())
    assert (layout.image_size, layout.token_side**2, layout.frames_per_patch) == (384, 196, 1)


def test_a_tower_whose_first_feature_is_dropped_is_refused():
    config = LlavaOnevisionConfig(vision_feature_select_strategy="default")
    with pytest.raises(ValueError, match=r"must be 'full', one feature per patch, got 'default'"):
        LlavaLayout.from_config(config)
