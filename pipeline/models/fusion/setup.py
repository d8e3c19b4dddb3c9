"""Fusing a loaded checkpoint: on a GPU, what has been found exact there; what was taken is kept with the model."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.models.fusion.check import ROW_COUNTS, RegionCheck, check_region
from pipeline.models.fusion.regions import build_regions
from pipeline.models.fusion.swap import FusedLayers, Need, fuse_layers, plan_swaps

_KEPT_AS = "adapttoken_fusion"
_LOG = logging.getLogger("adapttoken.models")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fusion:
    """What of a model is fused.

    Attributes:
        layers: in place.
        checks: one per region and width.
        num_calls: of stock modules, how many there are to fuse; ``len(layers.replaced)`` are.
        seconds: that checking took, compilation included.
    """

    layers: FusedLayers
    checks: tuple[RegionCheck, ...]
    num_calls: int
    seconds: float

    @property
    def is_whole(self) -> bool:
        """Whether every region was found exact."""
        return all(check.is_exact for check in self.checks)

    @property
    def summary(self) -> str:
        """The same words wherever the same was found."""
        refused = ", ".join(str(check.need) for check in self.checks if not check.is_exact)
        return f"{len(self.layers.replaced)} of {self.num_calls} calls" + (f"; stock for {refused}" if refused else "")

    def __str__(self) -> str:
        taken = f"{len(self.layers.replaced)} of {self.num_calls} calls fused"
        regions = ", ".join(str(check.need) for check in self.checks if check.is_exact) or "none"
        reasons: dict[str, list[str]] = {}
        for check in self.checks:
            if not check.is_exact:
                reasons.setdefault(check.found, []).append(str(check.need))
        refused = "".join(f"; stock for {', '.join(needs)}: {reason}" for reason, needs in reasons.items())
        return f"{taken}, regions found exact in {self.seconds:.1f} s: {regions}{refused}"


def set_up_fusion(model: Any, setting: str) -> Fusion | None:
    """Fuse what is exact here; None where nothing is wanted, or nothing is compiled for the device.

    Args:
        model: stock, on its devices; changed in place.
        setting: ``model.fusion``.
    """
    if setting == "off" or model.device.type != "cuda":
        return None
    return fuse_exact(model, is_compiled=True)


def fuse_exact(model: Any, *, is_compiled: bool, row_counts: tuple[int, ...] = ROW_COUNTS) -> Fusion:
    """Check every region at the widths of a model, and fuse with those that pass."""
    start, swaps, regions = time.perf_counter(), plan_swaps(model), build_regions(is_compiled=is_compiled)
    needs: dict[Need, None] = dict.fromkeys(need for swap in swaps for need in swap.needs)
    checks = tuple(check_region(need, regions[need.region], row_counts=row_counts) for need in needs)
    exact = frozenset(check.need for check in checks if check.is_exact)
    layers = fuse_layers(swaps, regions, exact=exact)
    seconds = time.perf_counter() - start
    fusion = Fusion(layers=layers, checks=checks, num_calls=len(swaps), seconds=seconds)
    setattr(model, _KEPT_AS, fusion)
    _LOG.log(logging.INFO if fusion.is_whole else logging.WARNING, "fusion: %s", fusion)
    return fusion


def fusion_of(model: Any) -> Fusion | None:
    """What ``fuse_exact`` left with a model."""
    found: Fusion | None = getattr(model, _KEPT_AS, None)
    return found


@contextmanager
def unfused(model: Any) -> Iterator[None]:
    """Inside, a model is stock."""
    fusion = fusion_of(model)
    if fusion is None:
        yield
        return
    with fusion.layers.off():
        yield


def use_uncompiled(model: Any) -> FusedLayers:
    """Fuse everything step by step, unchecked: for counting what a GPU would do, and for tests."""
    with torch.inference_mode():
        return fuse_layers(plan_swaps(model), build_regions(is_compiled=False))
