"""Converts an InternVL folder as its authors publish it into one that stock transformers reads; runs none of its code.

Weights go through a few gigabytes of memory at a time. The result appears under its name only when it is whole.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import InternVLConfig, InternVLForConditionalGeneration

from pipeline.models.checkpoints.files import INDEX_FILE, ExplainErrors, check_files
from pipeline.models.checkpoints.headers import StoredTensor, read_header
from pipeline.models.checkpoints.internvl_original.configuration import heads_of, text_type_of, to_native_config
from pipeline.models.checkpoints.internvl_original.conversation import to_chat_template
from pipeline.models.checkpoints.internvl_original.names import TextHeads, native_shapes, to_native
from pipeline.models.checkpoints.internvl_original.tokenizer import (
    END_TOKEN,
    IMAGE_TOKEN,
    bos_of,
    to_native_tokenizer,
)

SHARD_BYTES = 2 * 1024**3
_HEAD = "language_model.lm_head.weight"
_REMEDY = "give a folder as OpenGVLab publishes it (InternVL2.5, 3 or 3.5, complete), or the -hf checkpoint itself"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedFolder:
    """What was written."""

    num_tensors: int
    num_files: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Original:
    """An original folder that has been understood; ``shards`` are the files and tensors of each file to write."""

    text_type: str
    heads: TextHeads
    config: dict[str, Any]
    tokenizer: Any
    shards: tuple[tuple[tuple[Path, str], ...], ...]


def convert_internvl(folder: Path, output: Path, *, shard_bytes: int = SHARD_BYTES) -> ConvertedFolder:
    """Convert a folder.

    Args:
        folder: the original one.
        output: must not exist; appears whole.
        shard_bytes: of each file of weights, and about what is held in memory.

    Raises:
        FileExistsError: There is something at ``output``.
        CheckpointError: The folder is not one of the kind, or not complete.
        OSError: ``output`` cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output} exists already; give a folder that does not")
    with ExplainErrors(str(folder), "cannot be converted", _REMEDY):
        original = _understand(folder, shard_bytes)
    part = output.with_name(f".{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of an attempt that broke off
    part.mkdir(parents=True)
    _write_small_files(part, original)
    converted = _write_weights(part, original)
    if output.exists():
        output.rmdir()
    part.rename(output)
    return converted


def _understand(folder: Path, shard_bytes: int) -> _Original:
    """Everything but the weights' values: names and shapes must be those of the native model.

    Raises:
        ValueError: Something does not fit.
    """
    # 1. files (1 folder → headers of all weights)
    names = {path.name for path in folder.iterdir()}
    check_files(str(folder), str(folder), names, (folder / INDEX_FILE).read_bytes() if INDEX_FILE in names else None)
    headers = {path: read_header(path) for path in sorted(folder.glob("*.safetensors"))}
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # 2. names and shapes (1 original tensor → 0, 1 or 3 native ones)
    text_type, heads = text_type_of(content), heads_of(content)
    shapes: dict[str, tuple[int, ...]] = {}
    for header in headers.values():
        for name, tensor in header.items():
            shapes |= native_shapes(name, tensor.shape, text_type=text_type, heads=heads)
    # 3. tokenizer, chat template, configuration
    tokenizer = to_native_tokenizer(folder, text_type=text_type)
    tokenizer.chat_template = to_chat_template(folder, content, bos=bos_of(folder))
    image_id, end_id = (int(tokenizer.convert_tokens_to_ids(token)) for token in (IMAGE_TOKEN, END_TOKEN))
    config = to_native_config(content, image_token_id=image_id, is_tied=_HEAD not in shapes, end_id=end_id)
    # 4. the stock model with that configuration must want exactly these
    _check_shapes(config, shapes)
    return _Original(
        text_type=text_type,
        heads=heads,
        config=config,
        tokenizer=tokenizer,
        shards=tuple(_cut_shards(headers, shard_bytes)),
    )


def _cut_shards(
    headers: Mapping[Path, Mapping[str, StoredTensor]], shard_bytes: int
) -> Iterator[tuple[tuple[Path, str], ...]]:
    """Tensors of each file to write: as many as fit, in the order they lie in."""
    shard: list[tuple[Path, str]] = []
    size = 0
    for path, header in headers.items():
        for name, tensor in header.items():
            if shard and size + tensor.num_bytes > shard_bytes:
                yield tuple(shard)
                shard, size = [], 0
            shard.append((path, name))
            size += tensor.num_bytes
    if shard:
        yield tuple(shard)


def _check_shapes(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        model = InternVLForConditionalGeneration(InternVLConfig(**config))
    expected = {_published_name(name): tuple(p.shape) for name, p in model.named_parameters()}
    ours = {name: shape for name, shape in shapes.items() if ".mlp.experts." not in name}  # fused while loading
    expected = {name: shape for name, shape in expected.items() if ".mlp.experts." not in name}
    missing, unknown = sorted(expected.keys() - ours.keys()), sorted(ours.keys() - expected.keys())
    if missing or unknown:
        raise ValueError(
            f"{len(missing)} weights are missing and {len(unknown)} unknown, such as {[*missing, *unknown][0]}"
        )
    wrong = [name for name in expected if expected[name] != ours[name]]
    if wrong:
        raise ValueError(f"{wrong[0]} has the shape {ours[wrong[0]]}, the configuration says {expected[wrong[0]]}")


def _published_name(name: str) -> str:
    """As native checkpoints of this family are published; every version of transformers reads them."""
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    text = "model.language_model."
    return f"language_model.model.{name.removeprefix(text)}" if name.startswith(text) else name.removeprefix("model.")


def _write_small_files(part: Path, original: _Original) -> None:
    tokenizer, config = original.tokenizer, original.config
    tokenizer.save_pretrained(part)
    size = config["vision_config"]["image_size"]
    height, width = (size, size) if isinstance(size, int) else size
    pixels = {
        "size": {"height": height, "width": width},
        "image_mean": _MEAN,
        "image_std": _STD,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
    }
    ends = sorted({config["text_config"]["eos_token_id"], *_extra_ends(tokenizer, original.text_type)})
    files = {
        "config.json": config,
        "generation_config.json": {"eos_token_id": ends, "do_sample": False},
        "preprocessor_config.json": pixels
        | {"image_processor_type": "GotOcr2ImageProcessor", "crop_to_patches": False},
        "video_preprocessor_config.json": pixels | {"video_processor_type": "InternVLVideoProcessor"},
        "processor_config.json": {
            "processor_class": "InternVLProcessor",
            "image_seq_length": config["image_seq_length"],
        },
    }
    for name, content in files.items():
        (part / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _extra_ends(tokenizer: Any, text_type: str) -> set[int]:
    """InternLM2 also ends where the next speaker would start."""
    return {int(tokenizer.convert_tokens_to_ids("<|im_start|>"))} if text_type == "internlm2" else set()


def _write_weights(part: Path, original: _Original) -> ConvertedFolder:
    """One file after the other; the index, which makes the folder a checkpoint, comes last."""
    places: dict[str, str] = {}
    num_bytes, count = 0, len(original.shards)
    for number, shard in enumerate(original.shards, start=1):
        file_name = f"model-{number:05}-of-{count:05}.safetensors"
        tensors: dict[str, torch.Tensor] = {}
        for path, name in shard:
            with safe_open(path, framework="pt") as file:
                tensor = file.get_tensor(name)
            tensors |= to_native(name, tensor, text_type=original.text_type, heads=original.heads)
        save_file(tensors, part / file_name, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, file_name)
        num_bytes += sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": num_bytes}, "weight_map": dict(sorted(places.items()))}
    (part / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return ConvertedFolder(num_tensors=len(places), num_files=count, num_bytes=num_bytes)
