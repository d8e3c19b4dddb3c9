import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.models.llava.preprocess import normalize_frames
from pipeline.models.qwen.preprocess import resize_frames
from tests.unit.models.families.llava_onevision import process

SIZE = 384
SIZES = pytest.mark.parametrize(("height", "width"), [(120, 160), (33, 333), (500, 470)])


def levels(frames, expected):
    """Differences in units of 1/255 of the colour range."""
    ours = normalize_frames(resize_frames(torch.from_numpy(frames), height=SIZE, width=SIZE))
    assert ours.shape == expected.shape
    return (ours - expected).abs() * 0.5 * 255


def test_frames_of_the_trained_size_equal_the_towers_processor():
    frames = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    assert levels(frames, process(frames, size=SIZE)).max() < 1e-3


@SIZES
def test_any_other_size_is_squashed_to_the_square_as_the_towers_processor_does(height, width):
    # far from black and white, so that Pillow's order of the two passes, which depends on its version, does not clip
    frames = np.random.default_rng(1).integers(96, 160, (2, height, width, 3), dtype=np.uint8)
    difference = levels(frames, process(frames, size=SIZE))
    assert difference.max() <= 2 + 1e-3
    assert difference.mean() <= 0.4


@SIZES
def test_pure_noise_is_within_one_level_of_pillow_in_the_same_order_but_for_a_few_ties(height, width):
    frames = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    resized = [
        np.asarray(
            Image.fromarray(frame)
            .resize((SIZE, height), Image.Resampling.BICUBIC)
            .resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        )
        for frame in frames
    ]
    difference = levels(frames, process(resized, size=SIZE))
    assert difference.max() <= 2 + 1e-3
    assert (difference > 1 + 1e-3).float().mean() < 1e-4


def test_black_is_minus_one_and_white_is_one():
    black_and_white = torch.stack([torch.zeros(1, 1, 3), torch.full((1, 1, 3), 255)]).to(torch.uint8)
    black, white = normalize_frames(black_and_white)[:, :, 0, 0]
    assert (black.tolist(), white.tolist()) == ([-1.0] * 3, [1.0] * 3)
