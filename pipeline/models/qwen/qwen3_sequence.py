"""How Qwen3-VL is shown a video: every temporal patch a vision block of its own, its time written before it as text.

``<0.2 seconds><|vision_start|>…<|vision_end|><1.2 seconds><|vision_start|>…``: no temporal axis has to reach far, so
rotary positions just run on, and a patch that lost all its tokens leaves no trace.

Shape suffixes:
- P = temporal patches shown, N = visual tokens, T = all tokens, 3 = temporal, row, column
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.models.video_sequence import IntArray, VideoSequence

FloatArray = npt.NDArray[np.float64]
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"


def clip_centers(num_patches: int, *, frames_per_patch: int, patch_s: float) -> FloatArray:
    """``(P,)`` mean time in seconds of each patch's frames, in an ordinary clip from 0 s on.

    Example: frames of 2 per second, 2 per patch: patches of frames at 0 and 0.5, 1 and 1.5 s -> 0.25, 1.25.
    """
    half_span = (frames_per_patch - 1) / (2 * frames_per_patch)
    return np.asarray((np.arange(num_patches) + half_span) * patch_s, dtype=np.float64)


def block_texts(before: str, center_s_P: FloatArray) -> list[str]:
    """The text before each patch's visual tokens.

    Args:
        before: what the chat template puts before the video.
        center_s_P: mean time of each patch's frames.
    """
    texts = [f"{VISION_END}<{center_s:.1f} seconds>{VISION_START}" for center_s in center_s_P.tolist()]
    return [before + texts[0].removeprefix(VISION_END), *texts[1:]]


def lay_out(
    text_ids_P: Sequence[Sequence[int]],
    *,
    patch_N: IntArray,
    row_N: IntArray,
    column_N: IntArray,
    side: int,
    video_id: int,
) -> VideoSequence:
    """Put text and visual tokens in order, with positions as in stock ``get_rope_index``.

    A block's tokens start where its text ends and spread over rows and columns; the text after it goes on ``side``
    further, as if the whole frame stood there: a dropped token moves nothing else.

    Args:
        text_ids_P: tokens before each patch that is shown.
        patch_N: temporal patch of each visual token, ascending.
        row_N: token row in the patch.
        column_N: token column in the patch.
        side: the larger of a whole frame's token rows and columns.
        video_id: token id that stands for a visual token.
    """
    starts = np.flatnonzero(np.diff(patch_N, prepend=-1))
    ids, positions, visual = [], [], []
    place = position = 0
    for text_ids, (start, stop) in zip(text_ids_P, pairwise([*starts.tolist(), len(patch_N)]), strict=True):
        text_end, place_end = position + len(text_ids), place + len(text_ids)
        ids += [np.asarray(text_ids), np.full(stop - start, video_id)]
        frame = np.stack([np.zeros(stop - start, np.int64), row_N[start:stop], column_N[start:stop]])
        positions += [np.tile(np.arange(position, text_end), (3, 1)), text_end + frame]
        visual.append(np.arange(place_end, place_end + stop - start))
        position, place = text_end + side, place_end + stop - start
    return VideoSequence(
        ids_T=np.concatenate(ids),
        positions=np.concatenate(positions, axis=1),
        visual=np.concatenate(visual),
        next_position=position,
    )
