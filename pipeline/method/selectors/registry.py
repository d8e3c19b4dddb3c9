"""Which selectors there are, by the name that configs and results use."""

import difflib

from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.adapttoken_lite import AdaptTokenLite
from pipeline.method.selectors.adaq import AdaQ
from pipeline.method.selectors.aks import Aks
from pipeline.method.selectors.all_tokens import AllTokens
from pipeline.method.selectors.base import Selector
from pipeline.method.selectors.consensusdrop import CONSENSUS_VARIANTS
from pipeline.method.selectors.duet import Duet
from pipeline.method.selectors.entropy_vote import EntropyVote, MostCertain
from pipeline.method.selectors.equal_quota import EqualQuota
from pipeline.method.selectors.evs import Evs
from pipeline.method.selectors.flashvid import FlashVid
from pipeline.method.selectors.flexselect import FlexSelect
from pipeline.method.selectors.frame_change import FrameChange
from pipeline.method.selectors.ktv import Ktv
from pipeline.method.selectors.no_entropy import NoEntropy
from pipeline.method.selectors.promprune import PromPrune
from pipeline.method.selectors.rediprune import ReDiPrune, ReDiPruneTower
from pipeline.method.selectors.top_frames import TopFrames
from pipeline.method.selectors.uniform import Uniform
from pipeline.settings.config import RunConfig
from pipeline.settings.reading import apply_overrides

SELECTORS: dict[str, Selector] = {
    AdaptToken.name: AdaptToken(),
    AdaptTokenLite.name: AdaptTokenLite(),
    Uniform.name: Uniform(),
    EqualQuota.name: EqualQuota(),
    FlexSelect.name: FlexSelect(),
    TopFrames.name: TopFrames(),
    AllTokens.name: AllTokens(),
    NoEntropy.name: NoEntropy(),
    EntropyVote.name: EntropyVote(),
    MostCertain.name: MostCertain(),
    Evs.name: Evs(),
    FrameChange.name: FrameChange(),
    ReDiPrune.name: ReDiPrune(),
    ReDiPruneTower.name: ReDiPruneTower(),
    PromPrune.name: PromPrune(),
    FlashVid.name: FlashVid(),
    Duet.name: Duet(),
    Ktv.name: Ktv(),
    AdaQ.name: AdaQ(),
    Aks.name: Aks(),
    **{variant.name: variant for variant in CONSENSUS_VARIANTS},
}


def preset_for_method(preset: RunConfig, method: str) -> RunConfig:
    """A model's preset with what a method changes of it; what a user sets comes after."""
    return apply_overrides(preset, get_selector(method).settings)


def get_selector(name: str) -> Selector:
    """Return the selector of that name.

    Raises:
        ValueError: there is none; the message lists the names and the nearest one.
    """
    if name in SELECTORS:
        return SELECTORS[name]
    nearest = difflib.get_close_matches(name, SELECTORS, n=1, cutoff=0.0)[0]
    raise ValueError(f"method must be one of {', '.join(SELECTORS)}, got {name!r}; did you mean {nearest!r}?")
