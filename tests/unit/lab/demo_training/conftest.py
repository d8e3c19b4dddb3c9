"""Small pools of training pictures for the tests of this folder."""

import numpy as np
import pytest

from pipeline.demo.scenes import COLORS, SHAPES
from pipeline.lab.demo_training.patches import PatchPool, build_pool
from pipeline.lab.demo_training.vocabulary import build_tokenizer

RUNS_PER_LOOK, RUN_PATCHES, BACKGROUND = 2, 3, 200


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """Read back from real video."""
    return build_pool(tmp_path_factory.mktemp("pool"), num_videos=2, frames_per_video=400, seed=3)


@pytest.fixture(scope="session")
def noise_pool():
    """Noise instead of pictures, but every shape in every colour; half of the tokens show an object, at least one."""
    rng = np.random.default_rng(0)
    looks = [(shape, color) for shape in range(len(SHAPES)) for color in range(len(COLORS))]
    shape_N, color_N = np.repeat(np.array(looks), RUNS_PER_LOOK * RUN_PATCHES, axis=0).T
    shows_NK = rng.random((len(shape_N), 4)) < 0.5
    shows_NK[np.arange(len(shape_N)), rng.integers(4, size=len(shape_N))] = True
    none = np.full(BACKGROUND, -1)
    total = len(shape_N) + BACKGROUND
    return PatchPool(
        frames_NFHW3=rng.integers(0, 256, (total, 2, 56, 56, 3), dtype=np.uint8),
        shape_N=np.concatenate([shape_N, none]),
        color_N=np.concatenate([color_N, none]),
        appearance_N=np.concatenate([np.arange(len(shape_N)) // RUN_PATCHES, none]),
        video_N=np.zeros(total, dtype=np.int64),
        shows_NK=np.concatenate([shows_NK, np.zeros((BACKGROUND, 4), dtype=bool)]),
    )
