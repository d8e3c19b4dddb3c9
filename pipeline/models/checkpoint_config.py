"""A checkpoint's configuration: read without letting stock code's complaints through, and counted in bytes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from pipeline.models.checkpoints.configuration import read_raw_config, says_tied
from pipeline.models.checkpoints.files import ExplainErrors
from pipeline.models.checkpoints.headers import StoredTensor, read_headers, stored_names
from pipeline.models.checkpoints.layer_counts import check_announced, check_layer_counts
from pipeline.models.checkpoints.quantisation import quantiser_of
from pipeline.models.devices.memory_plan import ModelSize, StoredPart, measure_model
from pipeline.models.devices.stored_parts import scale_parts, sum_parts
from pipeline.models.interface import ModelLayout
from pipeline.models.registry import Family, get_family, known_families

_COPY_AGAIN = "copy the checkpoint again, or give another of the same family"
_HEAD = "lm_head"
_NOTHING = StoredPart(elements=0, packed_bytes=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """What a checkpoint's folder says without its weights being loaded.

    Attributes:
        config: stock configuration.
        family: row of the registry.
        layout: shapes.
        size: parts, counted from the files where they are at hand.
        quantiser: method that its weights are packed by; None: they are not.
    """

    config: Any
    family: Family
    layout: ModelLayout
    size: ModelSize
    quantiser: str | None


def read_checkpoint(name: str, folder: Path) -> CheckpointConfig:
    """Read a folder's configuration.

    Args:
        name: checkpoint as given.
        folder: with config.json; the index or the weights are looked at where they lie there too.

    Raises:
        PlugInError: Its family is another package's, which is broken.
        CheckpointError: Not readable, of another family, quantised by what is not installed, or of impossible shapes.
    """
    raw = read_raw_config(name, folder, known_families())
    family = get_family(raw["model_type"])
    with ExplainErrors(name, "has a config.json that transformers cannot read", _COPY_AGAIN):
        check_announced(raw)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with ExplainErrors(name, "has a config.json of which no model can be made, or lacks weights", _COPY_AGAIN):
        tensors = read_headers(name, folder)
        index = None if tensors else stored_names(folder)
        check_layer_counts(config, set(tensors) or (index[0] if index else set()))
        layout = family.read_layout(config)
        size = _measure(tensors, index, raw, config, family)
    return CheckpointConfig(config=config, family=family, layout=layout, size=size, quantiser=quantiser_of(raw))


def _measure(
    tensors: Mapping[str, StoredTensor],
    index: tuple[set[str], int | None] | None,
    raw: dict[str, Any],
    config: Any,
    family: Family,
) -> ModelSize:
    """Count the parts; what the files hold, packed weights included, goes before what the configuration says."""
    names = set(tensors) or (index[0] if index else set())
    says = says_tied(raw)
    if says is False and config.tie_word_embeddings:  # stock code goes by the text model's word in some families
        says = True
    is_tied = says is True if not names or says is not None else not any(_HEAD in tensor for tensor in names)
    size = measure_model(family.architecture, config, is_tied=is_tied)
    stored: dict[str, StoredPart] = {}
    if tensors:
        held = {key: tensor for key, tensor in tensors.items() if not (is_tied and _HEAD in key)}
        stored = sum_parts(size, held)
        _check_parts(size, stored)
    elif index and index[1] and is_quantised(raw):
        stored = scale_parts(size, index[1])
    return size.with_stored(stored)


def _check_parts(size: ModelSize, stored: dict[str, StoredPart]) -> None:
    """A part of which there is nothing at all is found here, single weights only while loading.

    Raises:
        ValueError: Such a part.
    """
    empty = [part for part, count in size.parts.items() if count and stored[part] == _NOTHING]
    if empty:
        raise ValueError(f"its files hold no weights of {len(empty)} parts of the model, such as {empty[0]}")


def is_quantised(raw: dict[str, Any]) -> bool:
    """Whether weights are packed."""
    return "quantization_config" in json.dumps(raw) or "compression_config" in raw
