"""Whether a checkpoint's configuration and its files speak of as many layers, before a model is made of the former."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

MOST_LAYERS = 1_000  # of any published model there are fewer than 200; a model is made of them, if only in outline
_IN_A_STACK = re.compile(r"(.*?\.(?:layers|layer|blocks))\.(\d+)\.")
_VISION = re.compile(r"visual|vision")


def check_announced(raw: Mapping[str, Any]) -> None:
    """Refuse numbers of layers that no model has, before anybody makes a list of them.

    Args:
        raw: content of config.json.

    Raises:
        ValueError: Such a number.
    """
    for part in (raw, *(value for value in raw.values() if isinstance(value, dict))):
        for key in ("num_hidden_layers", "depth"):
            count = part.get(key)
            if isinstance(count, int) and not 1 <= count <= MOST_LAYERS:
                raise ValueError(f"config.json says {key} {count}, there must be 1 to {MOST_LAYERS} layers")


def check_layer_counts(config: Any, names: Collection[str]) -> None:
    """Refuse a number of layers that is not the files'.

    Args:
        config: stock configuration.
        names: of the weights; empty where they are not known yet.

    Raises:
        ValueError: Such a number, and what the files hold.
    """
    held = _count_held(names)
    for part, announced in _announced(config):
        if held.get(part, announced) != announced:
            raise ValueError(f"config.json says {announced} layers of the {part}, its files hold {held[part]}")


def _announced(config: Any) -> Iterator[tuple[str, int]]:
    yield "language model", int(config.get_text_config().num_hidden_layers)
    vision = getattr(config, "vision_config", None)
    count = getattr(vision, "depth", getattr(vision, "num_hidden_layers", None))
    if count is not None:
        yield "vision tower", int(count)


def _count_held(names: Collection[str]) -> dict[str, int]:
    """Part -> one more than the highest number of a layer among its weights."""
    held: dict[str, int] = {}
    for name in names:
        if found := _IN_A_STACK.match(name):
            part = "vision tower" if _VISION.search(found[1]) else "language model"
            held[part] = max(held.get(part, 0), int(found[2]) + 1)
    return held
