import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from pipeline.models.qwen.preprocess import PatchGeometry, fit_size, flatten_patches, resize_frames

GEOMETRY = PatchGeometry()
MIN_PIXELS, MAX_PIXELS = 784, 40_000
CHANNEL_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
LEVEL = 1 / 255
SIZES = pytest.mark.parametrize(
    ("height", "width"), [(56, 56), (84, 140), (120, 160), (101, 75), (33, 333), (21, 19), (240, 426)]
)


def smooth_frames(rng, count, height, width):
    """A gradient that moves from frame to frame, and a hard-edged block: what video looks like."""
    rows, columns = np.mgrid[0:height, 0:width]
    frames = np.stack([(rows + 2 * columns + 40 * i) % 256 for i in range(count)])[..., None].repeat(3, axis=-1)
    frames[:, height // 3 : height // 2, width // 3 : width // 2] = [250, 3, 128]
    return (frames + rng.integers(0, 3, frames.shape)).clip(0, 255).astype(np.uint8)


def noise_frames(rng, count, height, width):
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def soft_frames(rng, count, height, width):
    """Far from black and white, so that nothing is clipped and the order of the resize passes does not show."""
    return rng.integers(96, 160, (count, height, width, 3), dtype=np.uint8)


def processed(frame, **options):
    """``(P, C, 14, 14)`` of one frame by the family's PIL processor, which repeats it in time."""
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}, **options)
    output = processor(images=[frame], return_tensors="pt", input_data_format="channels_last")
    rows = output["pixel_values"].view(-1, 3, 2, 14, 14)
    assert torch.equal(rows[:, :, 0], rows[:, :, 1])
    return rows[:, :, 0]


def resized_by_pil(frame, height, width):
    """Width, then height: what Pillow did in one call up to 12, and torchvision does; 13 picks the cheaper order."""
    image = Image.fromarray(frame).resize((width, frame.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def assert_slots_equal(frames, expected, *, max_levels, mean_levels):
    """``expected[i]`` is what frame i must look like in its slot, within so many of 255 levels."""
    height, width = fit_size(*frames.shape[1:3], geometry=GEOMETRY, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
    resized = resize_frames(torch.from_numpy(frames), height=height, width=width)
    rows = flatten_patches(resized, geometry=GEOMETRY).view(len(frames) // 2, -1, 3, 2, 14, 14)
    for index, theirs in enumerate(expected):
        ours = rows[index // 2, :, :, index % 2]
        assert ours.shape == theirs.shape
        difference = (ours - theirs).abs() * CHANNEL_STD
        assert difference.max() <= LEVEL * max_levels + 1e-5
        assert difference.mean() <= LEVEL * mean_levels


@SIZES
def test_every_frame_lands_in_its_temporal_slot_as_the_familys_processor_would_show_it(height, width):
    # two levels: rounding between the passes, where this Pillow takes them in the other order
    frames = soft_frames(np.random.default_rng(1), 4, height, width)
    assert_slots_equal(frames, [processed(frame) for frame in frames], max_levels=2, mean_levels=0.4)


@pytest.mark.parametrize("make_frames", [smooth_frames, noise_frames])
@SIZES
def test_hard_edges_are_clipped_between_the_passes_as_pil_does(height, width, make_frames):
    frames = make_frames(np.random.default_rng(1), 4, height, width)
    size = smart_resize(height, width, factor=28, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
    resized = [resized_by_pil(frame, *size) for frame in frames]
    assert_slots_equal(frames, [processed(frame, do_resize=False) for frame in resized], max_levels=1, mean_levels=0.01)


@given(
    height=st.integers(1, 2_000),
    width=st.integers(1, 2_000),
    min_pixels=st.integers(1, 100_000),
    extra_pixels=st.integers(0, 1_000_000),
)
@settings(deadline=None)
def test_frame_size_equals_the_familys_own_rule(height, width, min_pixels, extra_pixels):
    limits = {"min_pixels": min_pixels, "max_pixels": min_pixels + extra_pixels}
    if max(height, width) / min(height, width) > 200:
        with pytest.raises(ValueError, match="at most 200"):
            fit_size(height, width, geometry=GEOMETRY, **limits)
        return
    expected = smart_resize(height, width, factor=28, **limits)
    assert fit_size(height, width, geometry=GEOMETRY, **limits) == expected


def test_frames_of_the_right_size_are_not_touched():
    frames = torch.from_numpy(noise_frames(np.random.default_rng(2), 2, 56, 84))
    assert torch.equal(resize_frames(frames, height=56, width=84), frames)


@pytest.mark.parametrize("shape", [(3, 56, 56, 3), (2, 57, 56, 3), (2, 56, 42, 3)])
def test_half_a_patch_is_refused(shape):
    with pytest.raises(ValueError, match="whole patches of 2 frames with sides of 28 pixels"):
        flatten_patches(torch.zeros(shape, dtype=torch.uint8), geometry=GEOMETRY)
