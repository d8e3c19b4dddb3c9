"""Which selectors there are, by the name that configs and results use."""

import difflib

from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.adapttoken_lite import AdaptTokenLite
from pipeline.method.selectors.adapttoken_vote import AdaptTokenVote
from pipeline.method.selectors.all_tokens import AllTokens
from pipeline.method.selectors.base import Selector
from pipeline.method.selectors.entropy_vote import EntropyVote, MostCertain
from pipeline.method.selectors.flexselect import FlexSelect
from pipeline.method.selectors.no_entropy import NoEntropy
from pipeline.method.selectors.top_frames import TopFrames
from pipeline.method.selectors.uniform import Uniform

SELECTORS: dict[str, Selector] = {
    AdaptToken.name: AdaptToken(),
    AdaptTokenLite.name: AdaptTokenLite(),
    Uniform.name: Uniform(),
    FlexSelect.name: FlexSelect(),
    TopFrames.name: TopFrames(),
    AllTokens.name: AllTokens(),
    NoEntropy.name: NoEntropy(),
    EntropyVote.name: EntropyVote(),
    MostCertain.name: MostCertain(),
    AdaptTokenVote.name: AdaptTokenVote(),
}


def get_selector(name: str) -> Selector:
    """Return the selector of that name.

    Raises:
        ValueError: there is none; the message lists the names and the nearest one.
    """
    if name in SELECTORS:
        return SELECTORS[name]
    nearest = difflib.get_close_matches(name, SELECTORS, n=1, cutoff=0.0)[0]
    raise ValueError(f"method must be one of {', '.join(SELECTORS)}, got {name!r}; did you mean {nearest!r}?")
