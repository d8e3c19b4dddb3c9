"""How many tokens each group may keep: one global budget, shared by certainty (AdaptToken) or equally (FlexSelect).

Shares are worked out in float64 and read to nine decimals, so that ties do not hang on the order of a sum.
Shape suffix: G = groups.
"""

import numpy as np
import numpy.typing as npt

from pipeline.method.rounding import ceil_product

_DECIMALS = 9


def overselected(token_budget: int, over_select: float) -> int:
    """Tokens bought before redundancy removal: ``ceil(over_select * token_budget)``, e.g. 7,040 and 1.1 -> 7,744.

    Raises:
        ValueError: the budget or the factor is below 1.
    """
    if token_budget < 1 or not over_select >= 1:
        raise ValueError(f"overselected needs values of at least 1, got {token_budget=} {over_select=}")
    return ceil_product(over_select, token_budget)


def allocate_budget(
    certainty_G: npt.ArrayLike, num_tokens_G: npt.ArrayLike, *, budget: int, tau: float
) -> npt.NDArray[np.int64]:
    """Share ``budget`` in proportion to ``softmax(certainty / tau)``.

    No group gets more than it has: what is over is poured, by the same weights, over the others. Fractions go by
    largest remainders, ties to the lower index. Adding a group never raises another one's share by more than one token.

    Args:
        certainty_G: ``(G,)`` nats; a constant added to all changes nothing.
        num_tokens_G: ``(G,)`` tokens each group offers.
        budget: tokens to buy in all.
        tau: temperature in nats; small favours the surest group.

    Returns:
        ``(G,)`` int64 with ``0 <= bought <= num_tokens`` and the exact sum ``min(budget, num_tokens.sum())``.

    Raises:
        ValueError: shapes differ, a certainty is not finite, or a count or ``tau`` is out of range.
    """
    certainty = np.asarray(certainty_G, dtype=np.float64)
    if not np.isfinite(certainty).all():
        raise ValueError(f"certainty_G must be finite, got {certainty.tolist()}; a group without a score buys nothing")
    if not tau > 0:
        raise ValueError(f"tau must be positive, got {tau}; the paper uses 2.0")
    return _share_out(certainty, _checked_tokens(num_tokens_G, certainty.shape), budget, tau)


def equal_quota(num_tokens_G: npt.ArrayLike, *, budget: int) -> npt.NDArray[np.int64]:
    """Share ``budget`` equally, as FlexSelect does, by the clipping, pouring and rounding of ``allocate_budget``.

    ``num_tokens_G=[1, 9, 9] budget=10  ->  [1, 5, 4]``

    Raises:
        ValueError: a count is out of range.
    """
    num_tokens = np.asarray(num_tokens_G)
    return _share_out(np.zeros(num_tokens.shape), _checked_tokens(num_tokens, num_tokens.shape), budget, tau=1.0)


def _checked_tokens(num_tokens_G: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    num_tokens = np.asarray(num_tokens_G, dtype=np.int64)
    if num_tokens.ndim != 1 or len(num_tokens) == 0 or num_tokens.shape != shape:
        raise ValueError(
            f"num_tokens_G must hold one count per group, at least one; got {num_tokens.shape} for {shape}"
        )
    if (num_tokens < 0).any():
        raise ValueError(f"num_tokens_G must be at least 0, got {num_tokens.min()}")
    return num_tokens


def _share_out(
    certainty_G: npt.NDArray[np.float64], num_tokens_G: npt.NDArray[np.int64], budget: int, tau: float
) -> npt.NDArray[np.int64]:
    if budget < 0:
        raise ValueError(f"budget must be at least 0 tokens, got {budget}")
    total = min(budget, int(num_tokens_G.sum()))
    shares_G = np.round(_pour(certainty_G, num_tokens_G, total, tau), _DECIMALS)
    bought_G = np.floor(shares_G).astype(np.int64)
    largest_first = np.argsort(bought_G - shares_G, kind="stable")
    unfilled = largest_first[bought_G[largest_first] < num_tokens_G[largest_first]]
    bought_G[unfilled[: total - int(bought_G.sum())]] += 1
    assert bought_G.sum() == total
    return bought_G


def _pour(
    certainty_G: npt.NDArray[np.float64], num_tokens_G: npt.NDArray[np.int64], total: int, tau: float
) -> npt.NDArray[np.float64]:
    """Real-valued shares that sum to ``total``, each at most the group's tokens; full groups leave the pouring."""
    # relative to the surest group: its weight is 1, so weights never vanish all together
    with np.errstate(over="ignore"):
        weights_G = np.exp((certainty_G - certainty_G.max()) / tau)
    shares_G: npt.NDArray[np.float64] = total * weights_G / weights_G.sum()
    if (shares_G < num_tokens_G).all():  # as nearly always
        return shares_G
    return _pour_over(certainty_G, num_tokens_G, total, tau)


def _pour_over(
    certainty_G: npt.NDArray[np.float64], num_tokens_G: npt.NDArray[np.int64], total: int, tau: float
) -> npt.NDArray[np.float64]:
    """The same where groups are full: they leave, and the others are poured anew until none is."""
    shares_G = np.zeros(len(num_tokens_G))
    is_open_G = np.ones(len(num_tokens_G), dtype=bool)
    while is_open_G.any():
        open_certainty = certainty_G[is_open_G]
        with np.errstate(over="ignore"):
            weights = np.exp((open_certainty - open_certainty.max()) / tau)
        remaining = total - int(num_tokens_G[~is_open_G].sum())
        shares_G[is_open_G] = remaining * weights / weights.sum()
        is_full_G = is_open_G & (shares_G >= num_tokens_G)
        if not is_full_G.any():
            break
        shares_G[is_full_G] = num_tokens_G[is_full_G]
        is_open_G &= ~is_full_G
    return shares_G
