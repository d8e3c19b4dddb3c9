import numpy as np
import pytest

from pipeline.demo.scenes import HEIGHT, SHAPES, WIDTH, Sprite, place_appearance
from pipeline.doctor.needles import label_tokens, tokens_showing
from pipeline.lab.demo_training.patches import label_patches
from pipeline.models.interface import FrameGeometry


def needle(seed, *, shape=None, num_frames=9):
    rng = np.random.default_rng(seed)
    return place_appearance(
        rng, shape=shape or SHAPES[seed % len(SHAPES)], color="red", start_frame=11, num_frames=num_frames
    )


def geometry(token_rows, token_columns):
    return FrameGeometry(
        height=28 * token_rows, width=28 * token_columns, token_rows=token_rows, token_columns=token_columns
    )


def painted_pixels(appearance, frame, token_rows, token_columns):
    """Pixels of the object in each token, by drawing it; for grids that divide the picture."""
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    Sprite(appearance, np.random.default_rng(0)).draw(picture, frame)
    blocks = picture.any(axis=2).reshape(token_rows, HEIGHT // token_rows, token_columns, WIDTH // token_columns)
    return blocks.sum(axis=(1, 3)).reshape(-1)


@pytest.mark.parametrize("grid", [(2, 2), (3, 4), (12, 16)])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_token_shows_what_is_painted_on_it(shape, grid):
    for seed in range(5):
        appearance = needle(seed, shape=shape)
        pixels_K = painted_pixels(appearance, 13, *grid)
        enough = 0.12 * min(HEIGHT * WIDTH / len(pixels_K), pixels_K.sum())
        actual = tokens_showing(appearance, 13, token_rows=grid[0], token_columns=grid[1])
        assert actual.tolist() == (pixels_K >= enough).tolist()
        assert actual.any()


@pytest.mark.parametrize("grid", [(7, 11), (1, 1), (16, 16), (10, 13)])
def test_any_grid_is_covered_where_the_object_is_and_nowhere_else(grid):
    for seed in range(8):
        appearance = needle(seed)
        left, top = appearance.corner_at(12)
        shows = tokens_showing(appearance, 12, token_rows=grid[0], token_columns=grid[1]).reshape(grid)
        assert shows.any()
        for row, column in np.argwhere(shows):
            assert top < (row + 1) * HEIGHT / grid[0]
            assert top + appearance.side_px > row * HEIGHT / grid[0]
            assert left < (column + 1) * WIDTH / grid[1]
            assert left + appearance.side_px > column * WIDTH / grid[1]


def test_labels_of_a_group_follow_its_frames_patch_by_patch():
    appearance = needle(1)  # frames 11 to 19
    frames_PF = np.array([[8, 9], [10, 11], [18, 19], [20, 21]])
    shows_PK = label_tokens(appearance, frames_PF, geometry(2, 2)).reshape(4, 4)
    assert shows_PK.any(axis=1).tolist() == [False, True, True, False]
    assert shows_PK[1].tolist() == tokens_showing(appearance, 11, token_rows=2, token_columns=2).tolist()
    either = [tokens_showing(appearance, frame, token_rows=2, token_columns=2) for frame in (18, 19)]
    assert shows_PK[2].tolist() == np.logical_or(*either).tolist()


def test_on_the_demo_models_grid_the_same_patches_and_most_of_the_same_tokens_count_as_in_its_training():
    agreeing, patches = 0, 20
    frames_PF = np.arange(2 * patches).reshape(patches, 2)
    for seed in range(40):
        appearance = needle(seed, num_frames=20)
        trained = label_patches([appearance], patches)
        shows_PK = label_tokens(appearance, frames_PF, geometry(2, 2)).reshape(patches, 4)
        assert shows_PK.any(axis=1).tolist() == (trained["appearance_N"] == 0).tolist()
        agreeing += int((shows_PK == trained["shows_NK"]).sum())
    assert agreeing / (40 * patches * 4) > 0.9  # training counts an object's box, here its own pixels count
