"""From a checkpoint's name to a ``VideoModel``, or to its identity alone, which needs no weights in memory.

Stock transformers classes, safetensors only, no remote code. Whatever is wrong with a checkpoint is class ``model``.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils import is_flash_attn_2_available

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.chat_template import load_tokenizer
from pipeline.models.checkpoint_config import CheckpointConfig, read_checkpoint
from pipeline.models.checkpoints.files import ExplainErrors
from pipeline.models.checkpoints.source import find_checkpoint
from pipeline.models.devices.fp8_setup import refuse_fp8, refuse_packed, set_up_fp8
from pipeline.models.devices.gpu_layers import fit_layers_to_gpu
from pipeline.models.devices.map import module_devices, place_layers
from pipeline.models.devices.memory import check_memory
from pipeline.models.devices.memory_plan import ModelSize, plan_need
from pipeline.models.devices.packed_weights import refuse_packed_on, size_on, unpack_weights
from pipeline.models.fusion.setup import set_up_fusion
from pipeline.models.interface import ModelLayout, VideoModel, ranking_layers
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.models.registry import Family
from pipeline.settings.config import DEMO_MODEL, ModelConfig, RunConfig

DEMO_RECIPE = "recipe.json"  # the training job leaves it beside the weights


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelIdentity:
    """Which checkpoint a name stands for right now.

    Attributes:
        name: checkpoint as given.
        revision: hub commit, or the first 16 hex digits of a hash over a folder's files.
        family: ``model_type``, a key of ``FAMILIES``.
        layout: what the configuration says of shapes.
        size: its parts, for judging memory; None where nobody has measured them.
    """

    name: str
    revision: str
    family: str
    layout: ModelLayout
    size: ModelSize | None = None


def describe_model(config: ModelConfig, *, storage_options: Mapping[str, Any] | None = None) -> ModelIdentity:
    """Resolve a checkpoint's name; reads a folder's files once, of a hub id or an S3 prefix only small ones.

    One prompt is rendered: a chat template that cannot ask about a video is found here.

    Args:
        config: the revision it gives must be the one that is there.
        storage_options: fsspec's, for ``s3://``.

    Raises:
        PipelineError: Class ``model``: no such folder, not a usable checkpoint, unknown family, or hub not reachable;
            ``transfer``: the S3 store is not reachable.
        PromptError: Its tokenizer or chat template is of no use.
    """
    found = find_checkpoint(config, storage_options=storage_options)
    with found.planning_files() as folder:
        checkpoint = read_checkpoint(config.model, folder)
        load_tokenizer(config.model, folder, checkpoint.family)
    if config.quantization == "fp8":
        refuse_packed(config.model, checkpoint.config)
    return ModelIdentity(
        name=config.model,
        revision=found.revision,
        family=checkpoint.config.model_type,
        layout=checkpoint.layout,
        size=size_on(checkpoint.size, checkpoint.quantiser, []),
    )


def load_question_tokenizer(
    config: ModelConfig, *, storage_options: Mapping[str, Any] | None = None
) -> QuestionTokenizer:
    """What turns questions into token ids, without the weights.

    Raises:
        PipelineError: As ``describe_model``; also for an unusable tokenizer.
    """
    with find_checkpoint(config, storage_options=storage_options).planning_files() as folder:
        family = read_checkpoint(config.model, folder).family
        tokenizer = load_tokenizer(config.model, folder, family)
    return QuestionTokenizer(tokenizer, video_token=family.video_token, letter_mark=family.answer_marks[0])


def load_model(
    config: ModelConfig,
    *,
    torch_threads: int | None = None,
    device: str | None = None,
    run: RunConfig | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> VideoModel:
    """Load a checkpoint for inference.

    Args:
        config: ``auto`` dtype is bfloat16 on CUDA and float32 on the CPU.
        torch_threads: of this process; None leaves them as they are.
        device: None means ``execution.gpus_per_scorer`` of the visible GPUs; where that is unset, one if there is any.
        run: settings that memory is planned for and copies are kept by; None counts the weights alone.
        storage_options: fsspec's, for ``s3://``.

    Raises:
        PipelineError: As ``describe_model``; also for weights that are missing or do not fit;
            class ``out_of_memory`` if the model does not fit into its devices, found before its weights are fetched.
    """
    if torch_threads is not None:
        torch.set_num_threads(torch_threads)
    devices = [device] if device else _visible_devices(run.execution.gpus_per_scorer if run else None)
    found = find_checkpoint(config, cache_dir=run.reading.cache_dir if run else None, storage_options=storage_options)
    with found.planning_files() as folder:
        checkpoint = read_checkpoint(config.model, folder)
        family = checkpoint.family
        tokenizer = load_tokenizer(config.model, folder, family)
    dtype = choose_dtype(config, devices[0])
    if dtype is torch.float32:
        keep_all_bits()
    if config.quantization == "fp8":
        refuse_fp8(config.model, checkpoint.config, dtype, devices)
    refuse_packed_on(config.model, checkpoint.quantiser, devices)
    device_map = _plan_devices(config, checkpoint, run, devices=devices, element_bytes=dtype.itemsize)
    with ExplainErrors(config.model, "cannot be loaded", "check or download the checkpoint again; see the cause above"):
        try:
            with found.all_files() as folder:
                model = _load_weights(family.architecture, str(folder), dtype=dtype, device_map=device_map)
            model.set_attn_implementation(choose_attention(family, config, device=devices[0], dtype=dtype))
            unpack_weights(model, checkpoint.quantiser, dtype)
            model.eval().requires_grad_(False)
            fit_layers_to_gpu(model)
            adapter = family.build(model, tokenizer, name=config.model, revision=found.revision)
            set_up_fusion(model, config.fusion)  # over what the adapter has changed of stock calls
            if config.quantization == "fp8":
                set_up_fp8(model)
            adapter.use_fast_paths(is_wanted=config.fusion != "off" and model.device.type == "cuda")
            return adapter
        except torch.OutOfMemoryError as error:
            remedy = "raise execution.gpus_per_scorer, or use a smaller checkpoint or model.dtype=bfloat16"
            message = f"model {config.model!r} does not fit into {devices[0]}; {remedy}: {error}"
            raise PipelineError(FailureClass.OUT_OF_MEMORY, message) from error


def keep_all_bits() -> None:
    """Compute float32 in float32: by default cuDNN's convolutions keep 10 of 23 bits of the mantissa (TF32)."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def choose_dtype(config: ModelConfig, device: str) -> torch.dtype:
    """The weights' type on a device."""
    if config.dtype == "auto":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[config.dtype]


def choose_attention(family: Family, config: ModelConfig, *, device: str, dtype: torch.dtype) -> dict[str, str]:
    """Attention implementation of each sub-config: the family's own, but flash for the vision tower where it runs.

    The text model keeps its own, which reads the attention rank; inside, torch's SDPA picks the kernel.
    """
    is_flash = config.attention == "auto" and device.startswith("cuda") and dtype.itemsize == 2
    if is_flash and is_flash_attn_2_available():
        return dict(family.attention) | {"vision_config": "flash_attention_2"}
    return dict(family.attention)


def check_reference_layer(layout: ModelLayout, layer: int) -> None:
    """Refuse a reference layer that the model does not have, or that has no attention to rank by; layers count from 0.

    Raises:
        ValueError: Such a layer; attention would never be read.
    """
    if not 0 <= layer < layout.num_layers:
        raise ValueError(
            f"scoring.reference_layer must be one of the model's layers 0 to {layout.num_layers - 1}, got {layer}; "
            "set it, or leave it to the model's preset"
        )
    ranking = ranking_layers(layout)
    if layer not in ranking:
        around = (
            max((one for one in ranking if one < layer), default=None),
            min((one for one in ranking if one > layer), default=None),
        )
        nearest = " or ".join(str(one) for one in around if one is not None)
        raise ValueError(
            f"scoring.reference_layer must be a layer with full attention, got {layer}, which has linear attention and "
            f"no keys to rank tokens by; the nearest: {nearest}; set one, or leave it to the model's preset"
        )


def is_demo_model(name: str) -> bool:
    """Whether a checkpoint is the project's own tiny model, wherever its folder lies."""
    return name == DEMO_MODEL or (Path(name) / DEMO_RECIPE).is_file()


def _visible_devices(gpus_per_scorer: float | None) -> list[str]:
    """As many GPUs as one worker is given; the CPU where it is given none, whatever GPUs it sees."""
    if gpus_per_scorer == 0:
        return ["cpu"]
    wanted = 1 if gpus_per_scorer is None else gpus_per_scorer
    num_visible, num_wanted = torch.cuda.device_count(), max(1, math.ceil(wanted))
    if not num_visible and num_wanted == 1:
        return ["cpu"]
    if num_wanted > num_visible:
        raise PipelineError(
            FailureClass.MODEL,
            f"execution.gpus_per_scorer must be at most the {num_visible} GPUs this worker sees, got "
            f"{wanted:g}; lower it, or use machines with more GPUs",
        )
    return [f"cuda:{index}" for index in range(num_wanted)]


def _plan_devices(
    config: ModelConfig, checkpoint: CheckpointConfig, run: RunConfig | None, *, devices: list[str], element_bytes: int
) -> dict[str, Any] | None:
    """Module -> device, None for the CPU; refuses what does not fit."""
    name, is_gpu = config.model, devices != ["cpu"]
    size = size_on(checkpoint.size, checkpoint.quantiser, devices)
    need = plan_need(size, config, run, checkpoint.layout, element_bytes=element_bytes, is_gpu=is_gpu)
    if len(devices) > len(need.layer_bytes):
        raise PipelineError(
            FailureClass.MODEL,
            f"execution.gpus_per_scorer must be at most the {len(need.layer_bytes)} layers of model {name!r}, got "
            f"{len(devices)}; a layer is never split",
        )
    plan = place_layers(need, len(devices))
    check_memory(name, need, plan, devices)
    if len(devices) > 1:  # numbers, not names: with names accelerate takes any one of the set for the main device
        return module_devices(size, plan.layers_per_device)
    return None if devices == ["cpu"] else {"": torch.device(devices[0])}


def _load_weights(architecture: Any, folder: str, *, dtype: torch.dtype, device_map: dict[str, Any] | None) -> Any:
    with warnings.catch_warnings():
        # accelerate does not know that a key of its map may be a parameter of the model's own
        warnings.filterwarnings("ignore", "The following device_map keys do not match", UserWarning)
        model, report = architecture.from_pretrained(
            folder,
            dtype=dtype,
            device_map=device_map,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
        )
    if report["mismatched_keys"]:
        wrong = sorted(str(key[0]) for key in report["mismatched_keys"])
        raise ValueError(f"{len(wrong)} weights have another shape than its config.json says, such as {wrong[0]}")
    if report["missing_keys"]:  # transformers would go on with random weights
        missing = sorted(report["missing_keys"])
        raise ValueError(f"{len(missing)} weights are missing from its files, such as {missing[0]}")
    return model
