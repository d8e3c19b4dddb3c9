"""Where in the video the evidence lies: tokens of the final pass, gathered into spans of presentation time.

Shape suffixes: N = tokens of the final pass, P = temporal patches of the video's plan.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceSpan:
    """Half-open ``[start_s, end_s)`` in presentation time, its share of the weight, and how many tokens it covers."""

    start_s: float
    end_s: float
    weight: float
    num_tokens: int


def build_evidence(
    patch_indices_N: npt.NDArray[np.int64],
    weights_N: npt.NDArray[np.float64],
    patch_times_s_P: npt.NDArray[np.float64],
    *,
    duration_s: float,
) -> list[EvidenceSpan]:
    """Cover the tokens' temporal patches by spans; adjacent patches are one span.

    Patch p covers ``[t_p, t_{p+1})``, the last one until ``duration_s``, also where its neighbours were not encoded::

        patches 0 1 3, weights 1 1 2, times 0 1 2 3, duration_s=4  ->  [0,2) 0.5, [3,4) 0.5

    Args:
        patch_indices_N: temporal patch of each token, in any order.
        weights_N: attention each token got, at least 0, on any scale; all zero counts as all equal.
        patch_times_s_P: start of every temporal patch of the plan, strictly ascending.
        duration_s: end of the video, after the last patch's start.

    Returns:
        Spans by falling weight, then by ``start_s``; weights sum to 1. No token, no span.

    Raises:
        ValueError: shapes differ, or a patch, weight or time is out of range.
    """
    _check_evidence(patch_indices_N, weights_N, patch_times_s_P, duration_s)
    if len(patch_indices_N) == 0:
        return []
    num_patches = len(patch_times_s_P)
    num_tokens_P = np.bincount(patch_indices_N, minlength=num_patches)
    if not (weights_N > 0).any():
        weights_N = np.ones(len(weights_N))
    weights_P = np.bincount(patch_indices_N, weights=weights_N, minlength=num_patches)
    shares_P = weights_P / weights_P.sum()
    bounds_s = np.append(patch_times_s_P, duration_s)
    covered = np.flatnonzero(num_tokens_P)
    runs = np.split(covered, np.flatnonzero(np.diff(covered) > 1) + 1)
    spans = [
        EvidenceSpan(
            start_s=float(bounds_s[run[0]]),
            end_s=float(bounds_s[run[-1] + 1]),
            weight=float(shares_P[run].sum()),
            num_tokens=int(num_tokens_P[run].sum()),
        )
        for run in runs
    ]
    return sorted(spans, key=lambda span: (-span.weight, span.start_s))


def _check_evidence(
    patch_indices_N: npt.NDArray[np.int64],
    weights_N: npt.NDArray[np.float64],
    patch_times_s_P: npt.NDArray[np.float64],
    duration_s: float,
) -> None:
    if patch_indices_N.ndim != 1 or weights_N.shape != patch_indices_N.shape:
        raise ValueError(f"every token needs a patch and a weight, got {patch_indices_N.shape} and {weights_N.shape}")
    num_patches = len(patch_times_s_P)
    if ((patch_indices_N < 0) | (patch_indices_N >= num_patches)).any():
        raise ValueError(f"patch_indices_N must be in [0, {num_patches}), got {patch_indices_N.tolist()}")
    if not (np.isfinite(weights_N) & (weights_N >= 0)).all():
        raise ValueError(f"weights_N must be finite and at least 0, got {weights_N.min()}; pass attention, not logits")
    if not (np.diff(np.append(patch_times_s_P, duration_s)) > 0).all():
        raise ValueError(
            f"patch_times_s_P must ascend and end before duration_s={duration_s}; got equal or later times"
        )
