"""Which way passes attend and generate; the one place where it is chosen."""

from dataclasses import dataclass, field

from pipeline.models.greedy import Greedy, GrowingGreedy
from pipeline.models.prefix_attention import DensePrefixAttention, PrefixAttention


@dataclass(frozen=True, kw_only=True, slots=True)
class FastPaths:
    """Ways that give the same answers.

    Attributes:
        attention: of questions to the prefix that they share.
        greedy: how open questions go on.
    """

    attention: PrefixAttention = field(default_factory=DensePrefixAttention)
    greedy: Greedy = field(default_factory=GrowingGreedy)


STOCK_PATHS = FastPaths()
