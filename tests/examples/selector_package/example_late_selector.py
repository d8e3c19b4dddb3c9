"""``--method late`` and ``--method late-heard`` once it is installed: tokens of one group, and one group's say."""

import numpy as np

import adapttoken


class Late(adapttoken.AdaptToken):
    """Everything is bought from one group, the last of the most certain ones."""

    name = "late"
    removes_redundancy = False

    def allocate(self, certainty_G, num_tokens_G, config, *, tokens_per_patch=1):
        """What it offers, up to the budget."""
        best = len(certainty_G) - 1 - int(np.argmax(certainty_G[::-1]))
        shares_G = np.zeros(len(certainty_G), np.int64)
        shares_G[best] = min(int(num_tokens_G[best]), config.token_budget)
        return shares_G


class LateHeard(Late):
    """Besides, what the last group said counts as much as the final pass; only ``weigh`` makes the groups heard."""

    name = "late-heard"

    def weigh(self, probabilities, prefix, letters):
        """Probabilities of the options, which sum to 1."""
        said = [float(prefix[-1].response.strip().startswith(letter)) for letter in letters]
        mixed = [p + s for p, s in zip(probabilities, said, strict=True)]
        return tuple(p / sum(mixed) for p in mixed)
