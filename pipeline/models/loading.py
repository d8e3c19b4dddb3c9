"""From a checkpoint's name to a ``VideoModel``, or to its identity alone, which needs no weights in memory.

Stock transformers classes, safetensors only, no remote code. Whatever is wrong with a checkpoint is class ``model``.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file

import pipeline
from pipeline.config import ModelConfig
from pipeline.failures import FailureClass, PipelineError
from pipeline.models.interface import ModelLayout, VideoModel
from pipeline.models.registry import FAMILIES

DEMO_MODEL = "demo"
DEMO_RECIPE = "recipe.json"  # the training job leaves it beside the weights
_DEMO_FOLDER = Path(pipeline.__file__).parent / "demo" / "model"
# Everything that changes an answer; notes, logs and optimizer states beside it do not.
_IDENTITY_PATTERNS = (
    "*.safetensors",
    "model.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelIdentity:
    """Which checkpoint a name stands for right now.

    Attributes:
        name: checkpoint as given.
        revision: hub commit, or the first 16 hex digits of a hash over a folder's files.
        family: ``model_type``, a key of ``FAMILIES``.
        layout: what the configuration says of shapes.
    """

    name: str
    revision: str
    family: str
    layout: ModelLayout


def describe_model(config: ModelConfig) -> ModelIdentity:
    """Resolve a checkpoint's name; reads a folder's files once, downloads only config.json of a hub id.

    Raises:
        PipelineError: Class ``model``: no such folder, not a usable checkpoint, unknown family, or hub not reachable.
    """
    folder = _local_folder(config.model)
    if folder is None:
        config_path = _fetch_config(config)
        revision = config_path.parent.name  # the hub's cache keeps each commit in a folder of its name
    else:
        _check_folder(config.model, folder)
        config_path, revision = folder / "config.json", _hash_folder(folder)
    checkpoint = _read_config(config.model, config_path)
    return ModelIdentity(
        name=config.model,
        revision=revision,
        family=checkpoint.model_type,
        layout=FAMILIES[checkpoint.model_type].read_layout(checkpoint),
    )


def load_model(config: ModelConfig, *, torch_threads: int | None = None, device: str | None = None) -> VideoModel:
    """Load a checkpoint for inference.

    Args:
        config: ``auto`` dtype is bfloat16 on CUDA and float32 on the CPU.
        torch_threads: of this process; None leaves them as they are.
        device: None means CUDA where there is one.

    Raises:
        PipelineError: As ``describe_model``; also for weights that are missing or do not fit, or an unusable tokenizer;
            class ``out_of_memory`` if the weights do not fit into the device.
    """
    if torch_threads is not None:
        torch.set_num_threads(torch_threads)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    identity = describe_model(config)
    family = FAMILIES[identity.family]
    folder = _local_folder(config.model)
    source, revision = (config.model, identity.revision) if folder is None else (str(folder), None)
    try:
        model = _load_weights(family.architecture, source, revision, dtype=_dtype(config, device))
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
        model.set_attn_implementation(dict(family.attention))
        model.to(device).eval().requires_grad_(False)
        return family.build(model, tokenizer, name=identity.name, revision=identity.revision)
    except torch.OutOfMemoryError as error:
        remedy = "use a device with more memory, a smaller checkpoint, or model.dtype=bfloat16"
        raise PipelineError(
            FailureClass.OUT_OF_MEMORY, f"model {config.model!r} does not fit into {device}; {remedy}: {error}"
        ) from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _model_error(
            config.model, f"cannot be loaded ({error})", "check or download the checkpoint again; see the cause above"
        ) from error


def check_reference_layer(layout: ModelLayout, layer: int) -> None:
    """Refuse a reference layer that the model does not have; layers count from 0.

    Raises:
        ValueError: If it is outside; attention would never be read.
    """
    if not 0 <= layer < layout.num_layers:
        raise ValueError(
            f"scoring.reference_layer must be one of the model's layers 0 to {layout.num_layers - 1}, got {layer}; "
            "set it, or leave it to the model's preset"
        )


def _model_error(name: str, problem: str, remedy: str) -> PipelineError:
    return PipelineError(FailureClass.MODEL, f"model {name!r} {problem}; {remedy}")


def _local_folder(name: str) -> Path | None:
    """The folder a name means; None for a hub id (``owner/name``)."""
    if name == DEMO_MODEL:
        return _DEMO_FOLDER
    path = Path(name).expanduser()
    looks_local = name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1
    return path if looks_local or path.is_dir() else None


def _check_folder(name: str, folder: Path) -> None:
    if not folder.is_dir():
        remedy = (
            "train it first, or give another checkpoint as model.model"
            if name == DEMO_MODEL
            else "give an existing folder on this machine, or a hub id such as Qwen/Qwen2.5-VL-7B-Instruct"
        )
        raise _model_error(name, f"is a folder that does not exist: {folder}", remedy)
    if not (folder / "config.json").is_file():
        raise _model_error(name, f"has no config.json in {folder}", "give the folder that save_pretrained wrote")
    if not any(folder.glob("*.safetensors")):
        raise _model_error(
            name,
            f"has no *.safetensors in {folder}",
            "pickled weights (*.bin) are refused because reading them runs code; convert them to safetensors",
        )


def _fetch_config(config: ModelConfig) -> Path:
    try:
        return Path(str(cached_file(config.model, "config.json", revision=config.revision)))
    except OSError as error:
        raise _model_error(
            config.model,
            f"at revision {config.revision or 'main'} is neither a folder here nor to be had from the hub ({error})",
            "check the spelling, the network and the access token, or give a local folder",
        ) from error


def _read_config(name: str, path: Path) -> Any:
    known = ", ".join(sorted(FAMILIES))
    try:
        checkpoint = AutoConfig.from_pretrained(path.parent, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _model_error(
            name, f"has a config.json that transformers cannot read ({error})", f"families known here: {known}"
        ) from error
    if checkpoint.model_type not in FAMILIES:
        raise _model_error(
            name, f"is of the family {checkpoint.model_type!r}", f"give a checkpoint of a family known here: {known}"
        )
    return checkpoint


def _hash_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _IDENTITY_PATTERNS for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            digest.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def _dtype(config: ModelConfig, device: str) -> torch.dtype:
    if config.dtype == "auto":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[config.dtype]


def _load_weights(architecture: Any, source: str, revision: str | None, *, dtype: torch.dtype) -> Any:
    model, report = architecture.from_pretrained(
        source,
        revision=revision,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    if report["missing_keys"]:  # transformers would go on with random weights
        missing = sorted(report["missing_keys"])
        raise ValueError(f"{len(missing)} weights are missing from its files, such as {missing[0]}")
    return model


def is_demo_model(name: str) -> bool:
    """Whether a checkpoint is the project's own tiny model, wherever its folder lies."""
    return name == DEMO_MODEL or (Path(name) / DEMO_RECIPE).is_file()
