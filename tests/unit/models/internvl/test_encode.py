import numpy as np
import pytest
import torch

from pipeline.models.internvl.layout import InternVLLayout


def test_tokens_run_over_rows_then_columns_of_the_frame(case):
    """Bright pixels of one token's square move that token most: spatial evidence would be wrong otherwise."""
    side, pixels = case.geometry.token_columns, case.geometry.height // case.geometry.token_rows
    grey = np.full((1, case.geometry.height, case.geometry.width, 3), 128, np.uint8)
    with torch.inference_mode():
        # the vision layers mix all patches; without them a token sees its own square only
        tower = case.adapter._model.model.vision_tower
        layers, tower.encoder.layer = tower.encoder.layer, torch.nn.ModuleList()
        try:
            plain = case.adapter.encode(grey, case.geometry, batch_patches=1)
            for token in range(side * side):
                frame = grey.copy()
                row, column = divmod(token, side)
                frame[:, row * pixels : (row + 1) * pixels, column * pixels : (column + 1) * pixels] = 255
                moved = (case.adapter.encode(frame, case.geometry, batch_patches=1) - plain).abs().amax(dim=1)
                assert moved.nonzero().flatten().tolist() == [token]
        finally:
            tower.encoder.layer = layers


@pytest.mark.parametrize(("height", "width"), [(56, 56), (1_080, 1_920), (1, 5_000)])
@pytest.mark.parametrize("pixels", [(1, 1), (10**9, 10**9)], ids=["tiny-limits", "huge-limits"])
def test_every_frame_is_shown_as_the_trained_square(case, height, width, pixels):
    geometry = case.adapter.frame_geometry(height, width, min_pixels=pixels[0], max_pixels=pixels[1])
    size = case.stock.config.vision_config.image_size[0]
    assert (geometry.height, geometry.width) == (size, size)
    assert (geometry.token_rows, geometry.token_columns) == (size // 28, size // 28)


def test_a_frame_without_pixels_is_refused(case):
    with pytest.raises(ValueError, match="at least 1 pixel, got 0 x 5"):
        case.adapter.frame_geometry(0, 5, min_pixels=1, max_pixels=1)


def test_published_checkpoints_give_256_tokens_per_frame():
    from transformers import InternVLConfig

    layout = InternVLLayout.from_config(InternVLConfig())
    assert (layout.image_size, layout.tokens_per_frame, layout.frames_per_patch) == (448, 256, 1)


@pytest.mark.parametrize("size", [[448, 224], [462, 462]])
def test_frames_that_pixel_shuffle_cannot_cut_are_refused(size):
    from transformers import InternVLConfig

    config = InternVLConfig(vision_config={"image_size": size})
    with pytest.raises(ValueError, match=rf"must be a square of whole tokens of 28 pixels, got {size[0]} x {size[1]}"):
        InternVLLayout.from_config(config)
