"""Which visual tokens of a group show a needle, for any grid of tokens.

Shape suffixes: P = temporal patches of a group, F = frames of each, K = tokens of each, N = tokens of the group
"""

import numpy as np
import numpy.typing as npt

from pipeline.demo.scenes import HEIGHT, WIDTH, Appearance, shape_mask
from pipeline.models.interface import FrameGeometry

_MIN_OVERLAP = 0.12  # as in the labels of training pictures: less of an object than this says nothing about it


def label_tokens(
    needle: Appearance, frames_PF: npt.NDArray[np.int64], geometry: FrameGeometry
) -> npt.NDArray[np.bool_]:
    """``(N,)`` whether a token shows the needle on any frame of its patch.

    Args:
        needle: of a demo archive with one encoded frame per sampled frame.
        frames_PF: frames of the video that each patch of the group holds.
        geometry: how the model cuts a picture into tokens.
    """
    shows_NK = np.zeros((len(frames_PF), geometry.tokens_per_patch), dtype=bool)
    for patch, frames in enumerate(frames_PF):
        for frame in frames:
            if needle.start_frame <= frame < needle.end_frame:
                shows_NK[patch] |= tokens_showing(
                    needle, int(frame), token_rows=geometry.token_rows, token_columns=geometry.token_columns
                )
    return shows_NK.reshape(-1)


def tokens_showing(needle: Appearance, frame: int, *, token_rows: int, token_columns: int) -> npt.NDArray[np.bool_]:
    """``(K,)`` which tokens of a picture show the needle, row by row.

    The pixels of the object itself count, not its box: at least 12 % of the token or of the object, whichever is
    smaller, so that at least one token shows every object.
    """
    left, top = needle.corner_at(frame)
    y, x = np.nonzero(shape_mask(needle.shape, needle.side_px))
    row = ((y + top + 0.5) * token_rows / HEIGHT).astype(np.int64)
    column = ((x + left + 0.5) * token_columns / WIDTH).astype(np.int64)
    pixels_K = np.bincount(row * token_columns + column, minlength=token_rows * token_columns)
    token_area = HEIGHT * WIDTH / (token_rows * token_columns)
    return np.asarray(pixels_K >= _MIN_OVERLAP * min(token_area, len(y)))
