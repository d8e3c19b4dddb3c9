"""Visual tokens of every family against stock features of the same clip."""

import pytest
import torch

TOLERANCE = 1e-5


@pytest.mark.parametrize("batch_patches", [1, 2, 3, 8])
def test_encoding_in_batches_of_any_size_equals_stock_features(case, batch_patches):
    expected = case.stock_features()
    actual = case.encode(case.adapter, batch_patches=batch_patches)
    width = case.stock.config.text_config.hidden_size
    assert case.adapter.similarity_dim == width
    assert actual.shape == expected.shape == (case.num_tokens, case.adapter.feature_width)
    for ours, theirs in zip(actual.split(width, dim=1), expected.split(width, dim=1), strict=True):
        assert theirs.abs().mean() > 1e-2
        torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)


def test_a_patchs_tokens_do_not_depend_on_its_neighbours(case, features):
    size = case.frames_per_patch
    alone = case.adapter.encode(case.frames[size : 2 * size], case.geometry, batch_patches=4)
    torch.testing.assert_close(alone, features[case.per_patch : 2 * case.per_patch], atol=TOLERANCE, rtol=0)


def test_encoding_does_not_write_to_the_frames(case):
    frames = case.frames.copy()
    frames.setflags(write=False)  # as they come out of an object store
    case.adapter.encode(frames, case.geometry, batch_patches=2)
    assert (frames == case.frames).all()
