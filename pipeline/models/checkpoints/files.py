"""Which files make a checkpoint, and what is wrong when some are missing."""

import json
from collections.abc import Collection
from fnmatch import fnmatchcase
from types import TracebackType

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from pipeline.failures import FailureClass, PipelineError

INDEX_FILE = "model.safetensors.index.json"
# What says how a model is shaped and asked: a few megabytes, read before any worker starts.
PLANNING_PATTERNS = (
    "config.json",
    INDEX_FILE,
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.json",
    "chat_template.jinja",
)
# The stock processor that a checkpoint was published with; only its name is read, and only where a family needs it.
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
# Everything that changes an answer; notes, logs, pickled weights and code beside it are neither read nor copied.
CHECKPOINT_PATTERNS = (*PLANNING_PATTERNS, "*.safetensors", "generation_config.json")
# How stock code ends that reads a checkpoint which is not as it expects; its own are as many as its authors.
LOADING_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ImportError, RuntimeError, ArithmeticError),
    *(AssertionError, EOFError, SafetensorError, StrictDataclassError),
)
_LONGEST_CAUSE = 300
_OWN_CODE = "trust_remote_code"


def is_checkpoint_file(name: str) -> bool:
    """Whether a file of this name belongs to a checkpoint."""
    return any(fnmatchcase(name, pattern) for pattern in CHECKPOINT_PATTERNS)


def is_planning_file(name: str) -> bool:
    """Whether a file of this name is needed to describe a checkpoint."""
    return name in PROCESSOR_FILES or any(fnmatchcase(name, pattern) for pattern in PLANNING_PATTERNS)


class CheckpointError(PipelineError):
    """Class ``model``: the checkpoint was found, but it cannot be used."""


def check_files(name: str, place: str, file_names: Collection[str], index: bytes | None) -> None:
    """Refuse a checkpoint whose configuration or weights are not all there.

    Args:
        name: checkpoint as given.
        place: where its files were looked for.
        file_names: what is there.
        index: content of ``INDEX_FILE``; None where there is none.

    Raises:
        CheckpointError: What is missing.
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
        shards = set(map(str, json.loads(index)["weight_map"].values())) if index is not None else set()
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise model_error(name, f"has an unreadable {INDEX_FILE} ({error})", "copy the checkpoint again") from error
    missing = sorted(shards - set(file_names))
    if missing:
        raise model_error(
            name,
            f"lacks {len(missing)} of the {len(shards)} files that {INDEX_FILE} names, such as {missing[0]}",
            f"copy them to {place}",
        )


def model_error(name: str, problem: str, remedy: str) -> CheckpointError:
    """Whatever is wrong with a checkpoint, in one line."""
    return CheckpointError(FailureClass.MODEL, " ".join(f"model {name!r} {problem}; {remedy}".split()))


def cause_of(error: BaseException) -> str:
    """What stock code complained about, in at most one line; what it advises against this project's rules is left out.

    Examples: ``KeyError: 'hidden_size'``; ``No such file or directory: 'x'``
    """
    text = " ".join(str(error).split())
    if _OWN_CODE in text:
        return "it asks for code of its own, which is never run here"
    if len(text) > _LONGEST_CAUSE:
        text = f"{text[:_LONGEST_CAUSE]} …"
    is_telling = type(error) in (OSError, ValueError, RuntimeError, Exception) and text
    return text if is_telling else f"{type(error).__name__}: {text}".removesuffix(": ")


class ExplainErrors:
    """Around stock code that reads a checkpoint: whatever it raises becomes class ``model``, in one line.

    Example: ``with ExplainErrors(name, "cannot be loaded", "copy it again"): …``
    """

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self._name, self._problem, self._remedy = name, problem, remedy

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise what is understood as a failure of the model; the tokenizers library ends with a bare ``Exception``."""
        if isinstance(error, LOADING_ERRORS) or type(error) is Exception:
            raise model_error(self._name, f"{self._problem} ({cause_of(error)})", self._remedy) from error
