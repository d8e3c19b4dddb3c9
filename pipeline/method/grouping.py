"""How a video's temporal patches are split into groups, and in which order the groups count. Index arithmetic only.

Shape suffixes: P = temporal patches, G = groups.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt


def count_groups(num_frames: int, *, frames_per_group: int) -> int:
    """Return ``ceil(num_frames / frames_per_group)``, the rule that fits the paper's published group counts.

    Raises:
        ValueError: a count is below 1.
    """
    if num_frames < 1 or frames_per_group < 1:
        raise ValueError(f"count_groups needs counts of at least 1, got {num_frames=} {frames_per_group=}")
    return -(-num_frames // frames_per_group)


def plan_groups(
    num_patches: int, *, num_groups: int, grouping: Literal["interleaved", "contiguous"]
) -> tuple[npt.NDArray[np.int64], ...]:
    """Split ``range(num_patches)`` into ``min(num_groups, num_patches)`` groups, none of them empty.

    Sizes differ by one at most; lower groups are the larger ones::

        num_patches=5 num_groups=2  interleaved  ->  [0 2 4] [1 3]
        num_patches=5 num_groups=2  contiguous   ->  [0 1 2] [3 4]

    Returns:
        Per group its ascending int64 patch indices.

    Raises:
        ValueError: a count is below 1, or the grouping is unknown.
    """
    if num_patches < 1 or num_groups < 1:
        raise ValueError(f"plan_groups needs counts of at least 1, got {num_patches=} {num_groups=}")
    num_filled = min(num_groups, num_patches)
    patches_P = np.arange(num_patches, dtype=np.int64)
    if grouping == "interleaved":
        return tuple(patches_P[group::num_filled] for group in range(num_filled))
    if grouping == "contiguous":
        return tuple(np.array_split(patches_P, num_filled))
    raise ValueError(f"grouping must be 'interleaved' or 'contiguous', got {grouping!r}")


def visiting_order(num_groups: int) -> npt.NDArray[np.int64]:
    """Return ``(G,)`` group indices in bit-reversed (van der Corput) order: every prefix covers the set evenly.

    ``num_groups=6  ->  0 4 2 1 5 3`` (three bits reversed; 6 and 7 skipped)

    Raises:
        ValueError: ``num_groups`` is below 1.
    """
    if num_groups < 1:
        raise ValueError(f"num_groups must be at least 1, got {num_groups}")
    num_bits = (num_groups - 1).bit_length()
    reversed_codes = (_reverse_bits(code, num_bits) for code in range(1 << num_bits))
    return np.array([code for code in reversed_codes if code < num_groups], dtype=np.int64)


def _reverse_bits(code: int, num_bits: int) -> int:
    return sum(1 << (num_bits - 1 - bit) for bit in range(num_bits) if code >> bit & 1)
