"""Which files make a checkpoint, and what is wrong when some are missing."""

import json
from collections.abc import Collection
from fnmatch import fnmatchcase

from pipeline.failures import FailureClass, PipelineError

INDEX_FILE = "model.safetensors.index.json"
# What says how a model is shaped and asked: a few megabytes, read before any worker starts.
PLANNING_PATTERNS = (
    "config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.json",
    "chat_template.jinja",
)
# Everything that changes an answer; notes, logs, pickled weights and code beside it are neither read nor copied.
CHECKPOINT_PATTERNS = (*PLANNING_PATTERNS, "*.safetensors", INDEX_FILE, "generation_config.json")


def is_checkpoint_file(name: str) -> bool:
    """Whether a file of this name belongs to a checkpoint."""
    return any(fnmatchcase(name, pattern) for pattern in CHECKPOINT_PATTERNS)


def is_planning_file(name: str) -> bool:
    """Whether a file of this name is needed to describe a checkpoint."""
    return any(fnmatchcase(name, pattern) for pattern in PLANNING_PATTERNS)


def check_files(name: str, place: str, file_names: Collection[str], index: bytes | None) -> None:
    """Refuse a checkpoint whose configuration or weights are not all there.

    Args:
        name: checkpoint as given.
        place: where its files were looked for.
        file_names: what is there.
        index: content of ``INDEX_FILE``; None where there is none.

    Raises:
        PipelineError: Class ``model``.
    """
    if "config.json" not in file_names:
        raise model_error(name, f"has no config.json in {place}", "give the folder that save_pretrained wrote")
    if not any(file_name.endswith(".safetensors") for file_name in file_names):
        raise model_error(
            name,
            f"has no *.safetensors in {place}",
            "pickled weights (*.bin) are refused because reading them runs code; convert them to safetensors",
        )
    try:
        shards = set(json.loads(index)["weight_map"].values()) if index is not None else set()
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise model_error(name, f"has an unreadable {INDEX_FILE} ({error})", "copy the checkpoint again") from error
    missing = sorted(shards - set(file_names))
    if missing:
        raise model_error(
            name,
            f"lacks {len(missing)} of the {len(shards)} files that {INDEX_FILE} names, such as {missing[0]}",
            f"copy them to {place}",
        )


def model_error(name: str, problem: str, remedy: str) -> PipelineError:
    """Class ``model``: whatever is wrong with a checkpoint."""
    return PipelineError(FailureClass.MODEL, f"model {name!r} {problem}; {remedy}")
