"""The tokens of a final pass as one opaque record: thousands of them travel and rest as bytes, opened for a row only.

Shape suffixes: N = tokens of the final pass
"""

import numpy as np
import numpy.typing as npt

TOKEN_RECORD = np.dtype([("patch", "<i4"), ("token", "<i4"), ("weight", "<f4")])
"""One token of the final pass: its temporal patch, its number within the patch by row and column, its share."""

_DROPPED_BITS = 16  # of float32's 23 of mantissa: the rest says a share within 0.4 % and packs to a third


def pack_tokens(
    patch_N: npt.NDArray[np.int64], token_N: npt.NDArray[np.int64], weight_N: npt.NDArray[np.float64]
) -> bytes:
    """``TOKEN_RECORD``s in temporal, row, column order.

    Args:
        patch_N: temporal patch of each token, in any order.
        token_N: its place in the patch.
        weight_N: attention it got, at least 0, on any scale; all zero counts as all equal.
    """
    if not (weight_N > 0).any():
        weight_N = np.ones(len(weight_N))
    order = np.lexsort((token_N, patch_N))
    records = np.empty(len(order), dtype=TOKEN_RECORD)
    records["patch"], records["token"] = patch_N[order], token_N[order]
    bits = (weight_N[order] / weight_N.sum()).astype("<f4").view("<u4")
    half, mask = np.uint32(1 << (_DROPPED_BITS - 1)), np.uint32(0xFFFFFFFF << _DROPPED_BITS & 0xFFFFFFFF)
    records["weight"] = ((bits + half) & mask).view("<f4")
    return records.tobytes()


def unpack_tokens(packed: bytes) -> npt.NDArray[np.void]:
    """``(N,)`` what ``pack_tokens`` packed; weights are shares of the whole."""
    return np.frombuffer(packed, dtype=TOKEN_RECORD)
