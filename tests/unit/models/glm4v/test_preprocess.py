import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import Glm4vConfig
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor, smart_resize

from pipeline.models.glm.layout import GlmLayout
from pipeline.models.qwen.preprocess import flatten_patches, resize_frames
from tests.unit.models.families.glm4v import CLIP_MEAN, CLIP_STD

LAYOUT = GlmLayout.from_config(Glm4vConfig())
MIN_PIXELS, MAX_PIXELS = 784, 60_000
LEVEL = 1 / 255


def noise_frames(count, height, width):
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def resized_by_pil(frame, height, width):
    """Width, then height: the order of torchvision, on which the family's video processor stands."""
    image = Image.fromarray(frame).resize((width, frame.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def processed(frame):
    """``(P, C, 14, 14)`` of one frame by the family's PIL image processor, which repeats it in time."""
    output = Glm4vImageProcessorPil(do_resize=False)(
        images=[frame], return_tensors="pt", input_data_format="channels_last"
    )
    return output["pixel_values"].view(-1, 3, 2, 14, 14)[:, :, 0]


@pytest.mark.parametrize(("height", "width"), [(56, 56), (84, 140), (120, 160), (101, 75), (40, 333), (21, 19)])
def test_every_frame_lands_in_its_temporal_slot_as_the_familys_processors_would_show_it(height, width):
    frames = noise_frames(4, height, width)
    geometry = LAYOUT.frame_geometry(height, width, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
    resized = resize_frames(torch.from_numpy(frames), height=geometry.height, width=geometry.width)
    rows = flatten_patches(resized, geometry=LAYOUT.patches).view(2, -1, 3, 2, 14, 14)
    for index, frame in enumerate(frames):
        theirs = processed(resized_by_pil(frame, geometry.height, geometry.width))
        ours = rows[index // 2, :, :, index % 2]
        assert ours.shape == theirs.shape
        assert ((ours - theirs).abs() * CLIP_STD).max() <= LEVEL + 1e-5


def test_rows_run_in_the_order_of_the_familys_video_processor():
    frames = torch.from_numpy(noise_frames(6, 84, 140))
    video = (frames.permute(0, 3, 1, 2).float() / 255 - CLIP_MEAN) / CLIP_STD
    (expected,), *grid = Glm4vVideoProcessor().patchify(video[None], patch_size=14, merge_size=2, temporal_patch_size=2)
    assert grid == [3, 6, 10]
    torch.testing.assert_close(flatten_patches(frames, geometry=LAYOUT.patches), expected, atol=1e-5, rtol=0)


@given(
    height=st.integers(1, 2_000),
    width=st.integers(1, 2_000),
    min_pixels=st.integers(1, 100_000),
    extra_pixels=st.integers(0, 1_000_000),
)
@settings(deadline=None)
def test_frame_size_equals_the_familys_rule_whose_limits_are_for_a_whole_clip(height, width, min_pixels, extra_pixels):
    limits = {"min_pixels": min_pixels, "max_pixels": min_pixels + extra_pixels}
    clip_limits = {name: 2 * pixels for name, pixels in limits.items()}
    try:
        expected = smart_resize(2, height, width, temporal_factor=2, factor=28, **clip_limits)
    except ValueError:
        with pytest.raises(ValueError, match="at most 200"):
            LAYOUT.frame_geometry(height, width, **limits)
        return
    geometry = LAYOUT.frame_geometry(height, width, **limits)
    assert (geometry.height, geometry.width) == expected
    assert (geometry.token_rows, geometry.token_columns) == (expected[0] // 28, expected[1] // 28)


def test_no_frame_at_all_is_refused():
    with pytest.raises(ValueError, match="got 0 x 5 pixels"):
        LAYOUT.frame_geometry(0, 5, min_pixels=1, max_pixels=784)
