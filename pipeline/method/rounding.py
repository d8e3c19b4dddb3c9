"""Rounding a float product to a count, without the dust of binary fractions."""

import math

_DECIMALS = 9


def ceil_product(factor: float, count: int) -> int:
    """Return the smallest integer >= ``factor * count``, read to nine decimals.

    ``ceil_product(1.1, 7040) -> 7744``, where ``ceil(1.1 * 7040)`` alone may be 7745.
    """
    return math.ceil(round(factor * count, _DECIMALS))
