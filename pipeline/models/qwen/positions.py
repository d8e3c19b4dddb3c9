"""Multi-modal rotary positions of Qwen2.5-VL as the checkpoints were trained: text goes on after the largest axis.

Stock transformers 5.3 to 5.23 advances by the larger frame side only, so that a question would start before the end of
its video; a test pins the difference.

Shape suffixes:
- N = visual tokens, 3 = temporal, row, column
"""

import numpy as np
import numpy.typing as npt

from pipeline.models.video_sequence import check_positions

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def clip_positions(
    *, num_patches: int, token_rows: int, token_columns: int, start: int, patch_s: float, tokens_per_second: float
) -> IntArray:
    """``(3, N)`` positions of an ordinary clip whose patches are ``patch_s`` seconds apart."""
    temporal = _temporal_positions(np.arange(num_patches), patch_s * tokens_per_second)
    axes = np.meshgrid(temporal, np.arange(token_rows), np.arange(token_columns), indexing="ij")
    return np.stack([axis.reshape(-1) for axis in axes]).astype(np.int64) + start


def kept_positions(
    *,
    patch_N: IntArray,
    time_s_N: FloatArray,
    row_N: IntArray,
    column_N: IntArray,
    start: int,
    positions: str,
    patch_s: float,
    tokens_per_second: float,
) -> IntArray:
    """``(3, N)`` positions of kept tokens: at their presentation time, or close together in the same order.

    Args:
        patch_N: temporal patch of each token, ascending.
        time_s_N: presentation time of that patch.
        row_N: token row in the patch.
        column_N: token column in the patch.
        start: position of the first visual token.
        positions: ``absolute`` (from presentation time), ``compact`` (the kept patches as an ordinary clip) or
            ``patch-index`` (where they stood in the whole sampled clip, as stock code counts).
        patch_s: seconds between patches of an ordinary clip.
        tokens_per_second: temporal positions per second, of the checkpoint.

    Raises:
        ValueError: If ``positions`` is not one of its values.
    """
    if positions == "absolute":
        temporal_N = _temporal_positions(time_s_N, tokens_per_second)
    elif positions == "compact":
        temporal_N = _temporal_positions(np.unique(patch_N, return_inverse=True)[1], patch_s * tokens_per_second)
    else:
        check_positions(positions)
        temporal_N = _temporal_positions(patch_N, patch_s * tokens_per_second)
    return np.stack([temporal_N, row_N, column_N]) + start


def clip_end(
    *, num_patches: int, token_rows: int, token_columns: int, start: int, patch_s: float, tokens_per_second: float
) -> int:
    """Position of the text after a whole clip: one beyond the largest on any axis."""
    last = int(_temporal_positions(np.array([num_patches - 1]), patch_s * tokens_per_second)[0])
    return start + max(last, token_rows - 1, token_columns - 1) + 1


def _temporal_positions(steps: IntArray | FloatArray, per_step: float) -> IntArray:
    # Rounded down as in stock transformers; float error must not turn a whole number into the one before it.
    return np.floor(steps * per_step + 1e-6).astype(np.int64)
