"""AdaptToken whose tokens come from the most certain group alone; ``--method late`` once it is installed."""

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
