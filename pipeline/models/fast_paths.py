"""Which way passes attend and generate; the one place where it is chosen."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from pipeline.models.attention_check import Exactness, measure_cascade, measure_slots
from pipeline.models.devices.graphs import capture_on
from pipeline.models.greedy import Greedy, GrowingGreedy
from pipeline.models.prefix_attention import CascadePrefixAttention, DensePrefixAttention, PrefixAttention
from pipeline.models.static_greedy import StaticGreedy
from pipeline.models.text_model import TextModel

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FastPaths:
    """Ways that give the same answers.

    Attributes:
        attention: of questions to the prefix that they share.
        greedy: how open questions go on.
    """

    attention: PrefixAttention = field(default_factory=DensePrefixAttention)
    greedy: Greedy = field(default_factory=GrowingGreedy)

    def describe(self) -> dict[str, str]:
        """In words, as they stand now: a step that could not be captured is not any more."""
        by_parts = isinstance(self.attention, CascadePrefixAttention)
        steps = "growing cache"
        if isinstance(self.greedy, StaticGreedy):
            steps = "captured steps" if self.greedy.is_capturing else "static steps, not captured"
        return {"questions": "by parts" if by_parts else "dense mask", "open_answers": steps}


STOCK_PATHS = FastPaths()


def choose_fast_paths(text: TextModel, devices: Sequence[torch.device], *, is_wanted: bool) -> FastPaths:
    """The fast ways that are as exact on these devices as the ways in use; takes milliseconds.

    Args:
        text: the language model.
        devices: all that it lies on.
        is_wanted: False, and models whose layers are not all plain attention, keep the ways in use.
    """
    shape = text.attention_shape
    if not is_wanted or shape is None:
        return STOCK_PATHS
    attention, greedy = STOCK_PATHS.attention, STOCK_PATHS.greedy
    if _is_taken("cascade", measure_cascade(text.device, text.dtype, shape)):
        attention = CascadePrefixAttention()
    # a graph is of one device, and a static step that is not captured launches more kernels than a growing one
    can_capture = text.device.type == "cuda" and len(devices) == 1
    if can_capture and _is_taken("slots", measure_slots(text.device, text.dtype, shape)):
        greedy = StaticGreedy(capture=capture_on(text.device))
    return FastPaths(attention=attention, greedy=greedy)


def _is_taken(name: str, found: Exactness) -> bool:
    if not found.is_exact:
        _log.warning("attention by parts (%s) is not used here: %s", name, found.refusal or found)
    return found.is_exact
