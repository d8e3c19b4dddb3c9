import pytest
import torch

TOLERANCE = 1e-5


@pytest.mark.parametrize("batch_patches", [1, 2, 3, 8])
def test_merged_and_deepstack_features_equal_stock_video_features_for_any_batch(case, batch_patches):
    pixels, grid = case.pixels()
    with torch.inference_mode():
        stock = case.stock.get_video_features(pixels, grid)
    layers = [stock.pooler_output, *stock.deepstack_features]
    actual = case.adapter.encode(case.frames, case.geometry, batch_patches=batch_patches)
    width = case.stock.config.text_config.hidden_size
    assert case.adapter.similarity_dim == width
    assert len(layers) == 1 + len(case.stock.config.vision_config.deepstack_visual_indexes) > 2
    assert actual.shape == (case.num_tokens, width * len(layers))
    for index, (expected,) in enumerate(layers):
        assert expected.abs().mean() > 1e-2
        ours = actual[:, index * width : (index + 1) * width]
        torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)


def test_a_patchs_tokens_do_not_depend_on_its_neighbours(case, features):
    alone = case.adapter.encode(case.frames[2:4], case.geometry, batch_patches=4)
    torch.testing.assert_close(alone, features[case.per_patch : 2 * case.per_patch], atol=TOLERANCE, rtol=0)


def test_encoding_does_not_write_to_the_frames(case):
    frames = case.frames.copy()
    frames.setflags(write=False)  # as they come out of an object store
    case.adapter.encode(frames, case.geometry, batch_patches=2)
    assert (frames == case.frames).all()
