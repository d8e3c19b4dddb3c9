"""What the clips of one batch look like as training goes on: a few tokens, then groups and final passes."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewStyle:
    """One batch: whole temporal patches as a group is shown, or some tokens of many as a final pass is.

    Attributes:
        num_patches: of a group; of a final pass, backdrops at least.
        num_tokens: of a final pass.
        visible_share: how likely a moment is seen that nothing forces to be.
        open_share: of questions answered in words.
        lookup_share: of questions about the options alone ("Which option is red?"), a stepping stone.
        most_patches_each: of one moment.
        missing_share: how likely a moment of the evidence is not in a final pass.
        thinning: shares of a moment's tokens that may be left, one is drawn per moment.
    """

    view: Literal["group", "final"]
    num_patches: int
    num_tokens: int = 0
    visible_share: float = 0.5
    open_share: float = 0.15
    lookup_share: float = 0.0
    most_patches_each: int = 1
    missing_share: float = 0.1
    thinning: tuple[float, ...] = (1.0,)


def draw_style(rng: np.random.Generator, done: float, *, tokens_per_patch: int) -> ViewStyle:
    """From one picture and answers in words to whole groups and crowded final passes.

    Args:
        rng: of the step.
        done: share of the stage's steps.
        tokens_per_patch: of the grid.
    """
    if done < 0.06:  # look: words only
        return ViewStyle(view="group", num_patches=2, visible_share=0.6, open_share=1.0)
    if done < 0.2:  # read: find a word among the options
        look_up = 0.5 * (1 - (done - 0.06) / 0.14)
        return ViewStyle(view="group", num_patches=2, visible_share=0.6, open_share=0.4, lookup_share=look_up)
    if rng.random() < 0.5:
        most = 4 if done < 0.4 else 12 if done < 0.7 else 32
        patches = round(math.exp(rng.uniform(math.log(2), math.log(most))))
        shares = float(rng.choice([0.15, 0.5, 0.9]))
        return ViewStyle(view="group", num_patches=patches, visible_share=shares, open_share=0.2, lookup_share=0.02)
    return draw_final_style(rng, done)


def draw_final_style(rng: np.random.Generator, done: float) -> ViewStyle:
    """Some tokens of several moments: 12 to 48 at first, 8 to 128 later."""
    fewest, most = (12, 48) if done < 0.45 else (8, 128)
    return ViewStyle(
        view="final",
        num_patches=int(rng.integers(1, 5)),
        num_tokens=round(math.exp(rng.uniform(math.log(fewest), math.log(most)))),
        visible_share=float(rng.choice([0.1, 0.4, 0.8])),
        most_patches_each=1 if done < 0.3 else int(rng.choice([1, 2, 4])),
        missing_share=0.1,
        thinning=(1.0,) if done < 0.3 else (1.0, 1.0, 0.6, 0.3),
    )
