"""Which selectors there are, by the name that configs and results use; a file is read when its selector is asked for.

Names are needed before anything heavy is loaded, and rules of rank need torch.
"""

import difflib
import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from pipeline.settings.config import RunConfig
from pipeline.settings.plug_ins import PlugInError, check_own, describe_plug_in, load_plug_in, plug_in_names
from pipeline.settings.reading import apply_overrides

if TYPE_CHECKING:
    from pipeline.method.selectors.base import Selector

_FOLDER = __name__.rpartition(".")[0]
# name -> file in this folder, and what of it: a class, or a mapping by name
_ROWS: Mapping[str, tuple[str, str]] = {
    "adapttoken": ("adapttoken", "AdaptToken"),
    "adapttoken-lite": ("adapttoken_lite", "AdaptTokenLite"),
    "adapttoken-vote": ("adapttoken_vote", "AdaptTokenVote"),
    "uniform": ("uniform", "Uniform"),
    "equal-quota": ("equal_quota", "EqualQuota"),
    "flexselect": ("flexselect", "FlexSelect"),
    "top-frames": ("top_frames", "TopFrames"),
    "all": ("all_tokens", "AllTokens"),
    "no-entropy": ("no_entropy", "NoEntropy"),
    "entropy-vote": ("entropy_vote", "EntropyVote"),
    "most-certain": ("entropy_vote", "MostCertain"),
    "evs": ("evs", "Evs"),
    "frame-change": ("frame_change", "FrameChange"),
    "rediprune": ("rediprune", "ReDiPrune"),
    "rediprune-tower": ("rediprune", "ReDiPruneTower"),
    "promprune": ("promprune", "PromPrune"),
    "flashvid": ("flashvid", "FlashVid"),
    "duet": ("duet", "Duet"),
    "ktv": ("ktv", "Ktv"),
    "adaq": ("adaq", "AdaQ"),
    "aks": ("aks", "Aks"),
    "consensusdrop": ("consensusdrop", "CONSENSUS_VARIANTS"),
    "consensusdrop-certainty": ("consensusdrop", "CONSENSUS_VARIANTS"),
    "consensusdrop-0": ("consensusdrop", "CONSENSUS_VARIANTS"),
    "consensusdrop-0.3": ("consensusdrop", "CONSENSUS_VARIANTS"),
    "consensusdrop-0.7": ("consensusdrop", "CONSENSUS_VARIANTS"),
    "consensusdrop-1": ("consensusdrop", "CONSENSUS_VARIANTS"),
}


class _Selectors(MutableMapping[str, "Selector"]):
    """By name; each is made when it is first asked for."""

    def __init__(self, rows: Mapping[str, tuple[str, str]]) -> None:
        self._rows, self._made = dict(rows), dict[str, "Selector"]()

    def __getitem__(self, name: str) -> "Selector":
        if name not in self._made:
            file, attribute = self._rows[name]
            found = getattr(importlib.import_module(f"{_FOLDER}.{file}"), attribute)
            self._made[name] = found[name] if isinstance(found, Mapping) else found()
        return self._made[name]

    def __setitem__(self, name: str, selector: "Selector") -> None:
        self._rows.setdefault(name, ("", ""))
        self._made[name] = selector

    def __delitem__(self, name: str) -> None:
        del self._rows[name]
        self._made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


SELECTORS: MutableMapping[str, "Selector"] = _Selectors(_ROWS)


_GROUP = "adapttoken.selectors"
_FLAGS = (
    *("needs_scores", "removes_redundancy", "can_stop", "keeps_whole_patches", "needs_final_pass"),
    "ranks_separators",
)
_CALLS = ("choose_patches", "stop_after", "allocate", "allocate_tokens", "allocate_patches", "final_budget", "refusal")
_MAY_CALL = ("weigh",)  # of a ``GroupHearing``


def method_names() -> list[str]:
    """This project's own, then those that installed packages offer as ``adapttoken.selectors``; imports none."""
    return [*SELECTORS, *sorted(plug_in_names(_GROUP) - SELECTORS.keys())]


def preset_for_method(preset: RunConfig, method: str) -> RunConfig:
    """A model's preset with what a method changes of it; what a user sets comes after."""
    return apply_overrides(preset, get_selector(method).settings)


def get_selector(name: str) -> "Selector":
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


def _check(name: str, found: Any) -> "Selector":
    """A selector, or a class of which it is made; what it lacks is said now and not in the middle of a run."""
    selector = found() if isinstance(found, type) else found
    lacks = [flag for flag in _FLAGS if not isinstance(getattr(selector, flag, None), bool)]
    lacks += [call for call in _CALLS if not callable(getattr(selector, call, None))]
    lacks += [call for call in _MAY_CALL if not callable(getattr(selector, call, len))]
    if getattr(selector, "name", None) != name:
        lacks.append(f"name = {name!r}")
    if lacks:
        package = describe_plug_in(_GROUP, name)
        raise PlugInError(f"method {name!r} of {package} is no selector: it lacks {', '.join(lacks)}; update it")
    chosen: Selector = selector
    return chosen
