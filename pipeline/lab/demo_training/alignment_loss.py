"""Pulls visual tokens towards the words of what they show: without it the language model sits on a plateau.

Shape suffixes: D = hidden size
"""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.lab.demo_training.curriculum import TOKENS_PER_PATCH
from pipeline.lab.demo_training.patches import PatchPool

_SCALE = 0.25


def alignment_loss(features: Tensor, pool: PatchPool, patches: np.ndarray, *, words: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy of (visual token · word embedding) over shape words and over colour words.

    Args:
        features: ``(patches * 4, D)`` visual tokens of these patches of the pool.
        pool: says what each token shows.
        patches: indices into the pool.
        words: ``(shapes, D)`` and ``(colours, D)`` word embeddings.
    """
    shows = torch.from_numpy(pool.shows_NK[patches]).reshape(-1)
    loss = features.new_zeros(())
    for words_of, label_N in zip(words, (pool.shape_N, pool.color_N), strict=True):
        label = torch.from_numpy(label_N[patches]).repeat_interleave(TOKENS_PER_PATCH)
        loss = loss + nn.functional.cross_entropy(features[shows] @ words_of.T * _SCALE, label[shows])
    return loss
