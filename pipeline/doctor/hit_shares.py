"""How many of the most attended tokens are wanted ones. Arithmetic only.

Shape suffixes: L = layers, N = visual tokens of a group
"""

import numpy as np
import numpy.typing as npt


def hit_shares(
    attention_LN: npt.NDArray[np.float32], wanted_N: npt.NDArray[np.bool_], *, top: int
) -> npt.NDArray[np.float64]:
    """``(L,)`` share of each layer's ``top`` highest tokens that are wanted; the lower index wins a tie.

    NaN for a layer whose attention is NaN, as of one that has none.

    Raises:
        ValueError: If ``top`` is not between 1 and N.
    """
    if not 1 <= top <= len(wanted_N):
        raise ValueError(f"top must be between 1 and {len(wanted_N)} tokens, got {top}")
    highest = np.argsort(-attention_LN, axis=1, kind="stable")[:, :top]
    shares_L = np.asarray(wanted_N[highest].mean(axis=1), dtype=np.float64)
    shares_L[np.isnan(attention_LN).any(axis=1)] = np.nan
    return shares_L
