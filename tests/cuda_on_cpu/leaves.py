"""Arguments of an operation one by one: values in lists and tuples, quicker than ``torch.utils._pytree`` for these."""

from collections.abc import Callable, Iterator
from typing import Any


def leaves_of(nested: Any) -> Iterator[Any]:
    """What stands in lists, tuples and values of mappings, however deep."""
    for value in nested.values() if isinstance(nested, dict) else nested:
        if isinstance(value, list | tuple | dict):
            yield from leaves_of(value)
        else:
            yield value


def map_leaves(kind: type, change: Callable[[Any], Any], nested: Any) -> Any:
    """The same nest, with all values of a kind changed."""
    if isinstance(nested, kind):
        return change(nested)
    if isinstance(nested, list | tuple):
        changed = [map_leaves(kind, change, value) for value in nested]
        return changed if isinstance(nested, list) else tuple(changed)
    if isinstance(nested, dict):
        return {name: map_leaves(kind, change, value) for name, value in nested.items()}
    return nested
