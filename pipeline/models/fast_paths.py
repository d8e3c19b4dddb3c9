"""Which way passes attend and generate; the one place where it is chosen."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from pipeline.models.attention_check import Exactness, measure_cascade, measure_slots
from pipeline.models.devices.graphs import capture_on
from pipeline.models.greedy import Greedy, GrowingGreedy
from pipeline.models.prefix_attention import CascadePrefixAttention, DensePrefixAttention, PrefixAttention
from pipeline.models.static_greedy import STEPS_PER_READ, StaticGreedy
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
    cascade, slots = (measure(text.device, text.dtype, shape) for measure in (measure_cascade, measure_slots))
    is_gpu = text.device.type == "cuda"
    capture = capture_on(text.device) if is_gpu and len(devices) == 1 else None  # a graph is of one device
    return FastPaths(
        attention=CascadePrefixAttention() if _is_taken("cascade", cascade) else STOCK_PATHS.attention,
        greedy=StaticGreedy(steps_per_read=STEPS_PER_READ if is_gpu else 1, capture=capture)
        if _is_taken("slots", slots)
        else STOCK_PATHS.greedy,
    )


def _is_taken(name: str, found: Exactness) -> bool:
    if not found.is_exact:
        _log.warning("attention by parts (%s) is not used here: %s", name, found.refusal or found)
    return found.is_exact
