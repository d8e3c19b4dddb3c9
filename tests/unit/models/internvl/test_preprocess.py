import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.models.internvl.preprocess import normalize_frames
from pipeline.models.qwen.preprocess import resize_frames
from tests.unit.models.families.internvl import process

SIZE = 448
CHANNEL_STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
SIZES = pytest.mark.parametrize(("height", "width"), [(120, 160), (33, 333), (500, 470)])


def levels(frames, expected):
    """Differences in units of 1/255 of the colour range."""
    resized = resize_frames(torch.from_numpy(frames), height=SIZE, width=SIZE)
    ours = normalize_frames(resized)
    assert ours.shape == expected.shape
    return (ours - expected).abs() * CHANNEL_STD * 255


def test_frames_of_the_trained_size_equal_the_familys_processor():
    frames = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    assert levels(frames, process(frames, size=SIZE)).max() < 1e-3


@SIZES
def test_any_other_size_is_squashed_to_the_square_as_the_familys_processor_does(height, width):
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
    assert difference.mean() <= 0.02


def test_normalization_is_imagenets_not_clips():
    black_and_white = torch.stack([torch.zeros(1, 1, 3), torch.full((1, 1, 3), 255)]).to(torch.uint8)
    black, white = normalize_frames(black_and_white)[:, :, 0, 0]
    assert black.tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert white.tolist() == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225])
