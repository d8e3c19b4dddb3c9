"""Which selectors there are, by the name that configs and results use."""

import difflib
from typing import Any

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
from pipeline.settings.plug_ins import PlugInError, check_own, describe_plug_in, load_plug_in, plug_in_names
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


_GROUP = "adapttoken.selectors"
_FLAGS = (
    *("needs_scores", "removes_redundancy", "can_stop", "keeps_whole_patches", "needs_final_pass"),
    "ranks_separators",
)
_CALLS = ("choose_patches", "stop_after", "allocate", "allocate_tokens", "allocate_patches", "final_budget", "refusal")


def method_names() -> list[str]:
    """This project's own, then those that installed packages offer as ``adapttoken.selectors``; imports none."""
    return [*SELECTORS, *sorted(plug_in_names(_GROUP) - SELECTORS.keys())]


def preset_for_method(preset: RunConfig, method: str) -> RunConfig:
    """A model's preset with what a method changes of it; what a user sets comes after."""
    return apply_overrides(preset, get_selector(method).settings)


def get_selector(name: str) -> Selector:
    """Return the selector of that name.

    Raises:
        ValueError: There is none: the message lists the names and the nearest one; or two packages offer it, or the one
            that does is broken (``PlugInError``).
    """
    if name in SELECTORS:
        check_own(_GROUP, name)
        return SELECTORS[name]
    if name in plug_in_names(_GROUP):
        return _check(name, load_plug_in(_GROUP, name))
    names = method_names()
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise ValueError(f"method must be one of {', '.join(names)}, got {name!r}; did you mean {nearest!r}?")


def can_stop_early(name: str) -> bool:
    """Whether rows of a method may have stopped; not known of one that is installed no more."""
    try:
        return get_selector(name).can_stop
    except ValueError:
        return False


def _check(name: str, found: Any) -> Selector:
    """A selector, or a class of which it is made; what it lacks is said now and not in the middle of a run."""
    selector = found() if isinstance(found, type) else found
    lacks = [flag for flag in _FLAGS if not isinstance(getattr(selector, flag, None), bool)]
    lacks += [call for call in _CALLS if not callable(getattr(selector, call, None))]
    if getattr(selector, "name", None) != name:
        lacks.append(f"name = {name!r}")
    if lacks:
        package = describe_plug_in(_GROUP, name)
        raise PlugInError(f"method {name!r} of {package} is no selector: it lacks {', '.join(lacks)}; update it")
    chosen: Selector = selector
    return chosen
