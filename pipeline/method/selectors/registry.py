"""Which selectors there are, by the name that configs and results use; a file is read when its selector is asked for.

Names are needed before anything heavy is loaded, and rules of rank need torch.
"""

import difflib
import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING

from pipeline.settings.config import RunConfig
from pipeline.settings.reading import apply_overrides

if TYPE_CHECKING:
    from pipeline.method.selectors.base import Selector

# name -> file in this folder, and what of it: a class, or a mapping by name
_ROWS: Mapping[str, tuple[str, str]] = {
    "adapttoken": ("adapttoken", "AdaptToken"),
    "adapttoken-lite": ("adapttoken_lite", "AdaptTokenLite"),
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
            found = getattr(importlib.import_module(f"pipeline.method.selectors.{file}"), attribute)
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


def preset_for_method(preset: RunConfig, method: str) -> RunConfig:
    """A model's preset with what a method changes of it; what a user sets comes after."""
    return apply_overrides(preset, get_selector(method).settings)


def get_selector(name: str) -> "Selector":
    """Return the selector of that name.

    Raises:
        ValueError: there is none; the message lists the names and the nearest one.
    """
    if name in SELECTORS:
        return SELECTORS[name]
    nearest = difflib.get_close_matches(name, SELECTORS, n=1, cutoff=0.0)[0]
    raise ValueError(f"method must be one of {', '.join(SELECTORS)}, got {name!r}; did you mean {nearest!r}?")
