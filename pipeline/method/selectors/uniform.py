"""The plain baseline: as many evenly spaced temporal patches as the budget holds, all of their tokens."""

import numpy as np
import numpy.typing as npt

from pipeline.method.selectors.all_tokens import AllTokens


class Uniform(AllTokens):
    """All tokens of fewer patches."""

    name = "uniform"

    def choose_patches(
        self, num_patches: int, *, tokens_per_patch: int, token_budget: int, keep_ratio: float | None = None
    ) -> npt.NDArray[np.int64]:
        """The middle patch of each of K equal bins, K whole patches being what fits; one patch even if none fits.

        ``num_patches=10, room for 3  ->  1 5 8``

        Raises:
            ValueError: a count is below 1.
        """
        if num_patches < 1 or tokens_per_patch < 1:
            raise ValueError(f"Uniform needs counts of at least 1, got {num_patches=} {tokens_per_patch=}")
        return evenly_spaced(num_patches, max(1, token_budget // tokens_per_patch))


def evenly_spaced(num_patches: int, num_chosen: int) -> npt.NDArray[np.int64]:
    """The middle of each of so many equal bins; all, where there are no more."""
    num_chosen = min(num_patches, num_chosen)
    return (2 * np.arange(num_chosen, dtype=np.int64) + 1) * num_patches // (2 * num_chosen)
