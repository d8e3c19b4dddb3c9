"""What a checkpoint's files hold of each placeable part of a model: numbers in the working type, and packed bytes.

Quantised weights stay packed on the device; all other floating-point ones are cast to the working type.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from pipeline.models.devices.memory_plan import DECODER, ModelSize, StoredPart

_WORKING_TYPES = frozenset({"F64", "F32", "F16", "BF16"})
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_VISION = re.compile(r"(?:^|\.)(?:visual|vision_tower)\.")
_NOT_LOADED = re.compile(r"^mtp\.")  # Qwen3.5's layers that guess several tokens at once; stock code leaves them out
_NORM = re.compile(r"(?:^|\.)norm\.weight$")


class Tensor(Protocol):
    """As ``StoredTensor``."""

    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def num_elements(self) -> int: ...  # noqa: D102
    @property
    def num_bytes(self) -> int: ...  # noqa: D102


def sum_parts(size: ModelSize, tensors: Mapping[str, Tensor]) -> dict[str, StoredPart]:
    """Module -> what the files hold of it, under native names or those of a release."""
    elements, packed = dict.fromkeys(size.parts, 0), dict.fromkeys(size.parts, 0)
    for name, tensor in tensors.items():
        if _NOT_LOADED.search(name):
            continue
        part = part_of(name, size)
        if part not in elements:  # a layer beyond the model's, as for predicting several tokens, which is not loaded
            continue
        if tensor.dtype in _WORKING_TYPES:
            elements[part] += tensor.num_elements
        else:
            packed[part] += tensor.num_bytes
    return {part: StoredPart(elements=elements[part], packed_bytes=packed[part]) for part in size.parts}


def scale_parts(size: ModelSize, total_bytes: int) -> dict[str, StoredPart]:
    """The same where only the sum is known: every part has its share."""
    whole = size.num_parameters
    return {
        part: StoredPart(elements=0, packed_bytes=total_bytes * count // whole) for part, count in size.parts.items()
    }


def part_of(name: str, size: ModelSize) -> str:
    """The module that a tensor belongs to."""
    if _VISION.search(name):
        return next(part for part in size.first if _VISION.search(f"{part}."))
    if layer := _LAYER.search(name):
        return f"{DECODER}.layers.{layer[1]}"
    if "lm_head" in name:
        return "lm_head"
    if _NORM.search(name):
        return f"{DECODER}.norm"
    return next((part for part in size.first if part.rpartition(".")[2] in name), f"{DECODER}.embed_tokens")
