"""A checkpoint's config.json, looked at before stock code does: whether it can be used here at all."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline.models.checkpoints.files import ExplainErrors, model_error
from pipeline.models.checkpoints.quantisation import check_quantiser
from pipeline.models.checkpoints.unknown_families import unknown_family

CONFIG_FILE = "config.json"
_COPY_AGAIN = "copy the checkpoint again"


def read_raw_config(name: str, folder: Path, known: Collection[str]) -> dict[str, Any]:
    """The file's content.

    Args:
        name: checkpoint as given.
        folder: where the file lies.
        known: ``model_type`` of every family that can be loaded.

    Raises:
        PipelineError: Class ``model``: not readable, of another family, or quantised by what is not installed.
    """
    with ExplainErrors(name, f"has a {CONFIG_FILE} that cannot be read", _COPY_AGAIN):
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or "model_type" not in content:
        remedy = (
            f"{_COPY_AGAIN}, or give one that transformers can read (families known here: {', '.join(sorted(known))})"
        )
        raise model_error(name, f"has a {CONFIG_FILE} that names no model_type", remedy)
    if content["model_type"] not in list(known):  # which may be anything, even a list
        raise unknown_family(name, content["model_type"], known)
    check_quantiser(name, content)
    return content


def says_tied(config: dict[str, Any]) -> bool | None:
    """Whether output head and input embedding share their weights; None where the file does not say.

    Published InternVL3 checkpoints do not, and have a head of their own.
    """
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        if isinstance(part.get("tie_word_embeddings"), bool):
            return bool(part["tie_word_embeddings"])
    return None
