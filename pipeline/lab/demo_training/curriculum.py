"""What clips and questions look like as training goes on: colour words, then options, then groups and final passes."""

import numpy as np

from pipeline.lab.demo_training.examples import ClipStyle

TOKENS_PER_PATCH = 4


def draw_style(rng: np.random.Generator, *, stage: float) -> ClipStyle:
    """Clips and questions grow harder with ``stage`` up to 1; then half are final passes, at 2 shorter ones."""
    if stage < 0.1:  # look: colour words only
        return _clip(4, appearances=3, each=2, open_share=1.0)
    if stage < 0.5:  # read: find a word among the options
        return _clip(4, appearances=3, each=3, open_share=0.35, lookup_share=0.65)
    if stage < 0.72:  # both: look, then find
        return _clip(4, appearances=3, each=3, open_share=0.25, lookup_share=0.25)
    if stage < 0.82:
        return _clip(12, appearances=5, each=4, open_share=0.3, lookup_share=0.05)
    if rng.random() < 0.5:  # a group: an ordinary clip of many patches, most of them empty
        return _clip(32, appearances=5, each=3, open_share=0.3)
    num_patches = int(rng.integers(24, 65))  # a final pass: some tokens of many groups
    fewest, most = (24, 160) if stage <= 1.0 else (10, 100)
    return ClipStyle(
        num_patches=num_patches,
        num_tokens=int(rng.integers(fewest, min(most, num_patches * TOKENS_PER_PATCH) + 1)),
        max_appearances=8,
        max_patches_each=12,
        max_gap=int(rng.choice([1, 1, 4, 100])),
        open_share=0.3,
    )


def _clip(patches: int, *, appearances: int, each: int, open_share: float, lookup_share: float = 0.0) -> ClipStyle:
    """All tokens of an ordinary clip."""
    return ClipStyle(
        num_patches=patches,
        num_tokens=patches * TOKENS_PER_PATCH,
        max_appearances=appearances,
        max_patches_each=each,
        max_gap=1,
        open_share=open_share,
        lookup_share=lookup_share,
    )
