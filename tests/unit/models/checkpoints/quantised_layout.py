"""Tiny Qwen2.5-VL folders whose linear layers are quantised, written by each format's rule and under its names.

Shape suffixes: O = output channels, I = inputs, G = groups of inputs, P = numbers packed into one
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BitsAndBytesConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from pipeline.lab.demo_training.architecture import demo_config
from tests.unit.models.checkpoints.published_layout import write_published
from tests.unit.models.families.case import Case, add_noise, as_adapter
from tests.unit.models.families.qwen2_5_vl import build_case

GROUP = 32  # inputs that share a scale
BLOCK = 128  # of FP8: outputs and inputs that share one
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # which of eight channels lies in each four bits, the lowest first
_TEXT = "model.language_model.layers."
_E4M3 = torch.float8_e4m3fn

Packed = tuple[dict[str, Tensor], Tensor]  # name -> what is stored; the weights that it stands for


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a quantiser stores the linear layers of a text model.

    Attributes:
        settings: in config.json.
        pack: of one weight; None where the quantiser's own package has to write the folder.
        modules: packages that it is loaded with.
    """

    settings: Mapping[str, Any]
    pack: Callable[[Tensor], Packed] | None
    modules: tuple[str, ...]


def build_wide_case() -> Case:
    """Widths that every format can divide: 128 and 256 in the text model, 64 and 128 in the tower."""
    case = build_case("demo")
    config = demo_config(case.tokenizer).to_dict()
    config["text_config"] |= {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        "layer_types": None,
    }
    config["vision_config"] |= {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "out_hidden_size": 128,
        "window_size": 112,
        "fullatt_block_indexes": [1],
    }
    torch.manual_seed(12)
    stock = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**config))
    torch.nn.init.normal_(stock.get_input_embeddings().weight, std=0.5)
    add_noise(stock, scale=0.05).set_attn_implementation("eager")
    with torch.no_grad():
        for parameter in stock.parameters():
            parameter.copy_(parameter.bfloat16())
    adapter = as_adapter("qwen2_5_vl", stock, case.tokenizer)
    return replace(case, stock=stock, adapter=adapter, _runs={})


def write_quantised(folder: Path, case: Case, form: Format) -> None:
    """Write the folder; the case's stock model gets the weights that the stored ones stand for."""
    if form.pack is None:
        _write_by_package(folder, case, form)
        return
    stored: dict[str, Tensor] = {}
    for name, module in case.stock.named_modules():
        if name.startswith(_TEXT) and isinstance(module, torch.nn.Linear):
            tensors, stands_for_OI = form.pack(module.weight.detach())
            stored |= {f"{name}.{key}": tensor for key, tensor in tensors.items()}
            module.weight.data.copy_(stands_for_OI)
    write_published(folder, case.stock, case.tokenizer)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": dict(form.settings)}))
    _replace_weights(folder, {name.replace("language_model.", ""): tensor for name, tensor in stored.items()})


def _replace_weights(folder: Path, stored: Mapping[str, Tensor]) -> None:
    """In one file, without an index."""
    weights: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights |= load_file(path)
        path.unlink()
    (folder / "model.safetensors.index.json").unlink()
    layers = {name.rpartition(".")[0] for name in stored}
    weights = {name: w for name, w in weights.items() if not (name.endswith(".weight") and name[:-7] in layers)}
    save_file(weights | dict(stored), folder / "model.safetensors", {"format": "pt"})


def _write_by_package(folder: Path, case: Case, form: Format) -> None:
    """Quantised while it is loaded, and saved so; tower included, which is that package's custom."""
    plain = folder.with_name(f"{folder.name}-plain")
    case.stock.save_pretrained(plain)
    settings = BitsAndBytesConfig(**form.settings)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(plain, quantization_config=settings, dtype=torch.float32)
    model.save_pretrained(folder)
    case.tokenizer.save_pretrained(folder)
    for name, module in model.named_modules():
        if type(module).__name__ in _UNPACK:
            case.stock.get_submodule(name).weight.data.copy_(_UNPACK[type(module).__name__](module))


def _unpack_four(linear: Any) -> Tensor:
    """The package's own rule: 16 numbers of its own choice times a scale per 64 weights."""
    state = linear.weight.quant_state
    eights = linear.weight.data.flatten()
    levels = torch.stack([eights >> 4, eights & 15], dim=1).flatten().long()
    return (state.code[levels].unflatten(0, (-1, state.blocksize)) * state.absmax[:, None]).view(state.shape)


def _unpack_eight(linear: Any) -> Tensor:
    return linear.weight.data.float() * linear.weight.SCB[:, None] / 127


_UNPACK = {"Linear4bit": _unpack_four, "Linear8bitLt": _unpack_eight}


def _pack_fp8(weight_OI: Tensor) -> Packed:
    """Blocks of 128 x 128 with a scale each, which a number is multiplied with."""
    rows, columns = (max(1, size // BLOCK) for size in weight_OI.shape)
    blocks = weight_OI.unflatten(0, (rows, -1)).unflatten(2, (columns, -1))
    scale = blocks.abs().amax((1, 3), keepdim=True) / torch.finfo(_E4M3).max
    narrow = (blocks / scale).to(_E4M3)
    stands_for = (narrow.float() * scale).reshape(weight_OI.shape)
    return {"weight": narrow.view(weight_OI.shape), "weight_scale_inv": scale[:, 0, :, 0].contiguous()}, stands_for


def _levels(weight_OI: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Levels 0 to 15 about 8 ``(O, G, GROUP)``, a scale per group in half precision, and what they stand for."""
    groups_OGg = weight_OI.unflatten(1, (-1, GROUP))
    scale_OG1 = (groups_OGg.abs().amax(-1, keepdim=True) / 7).half().float()
    levels_OGg = (groups_OGg / scale_OG1).round().clamp(-8, 7)
    return (levels_OGg + 8).int(), scale_OG1[..., 0], (levels_OGg * scale_OG1).flatten(1)


def _pack(numbers: Tensor, order: tuple[int, ...] = tuple(range(8))) -> Tensor:
    """Eight numbers of the last dimension in 32 bits, the first of ``order`` in the lowest four."""
    eights = numbers.unflatten(-1, (-1, 8)).long()
    packed = sum(eights[..., number] << (4 * place) for place, number in enumerate(order))
    return torch.where(packed >= 2**31, packed - 2**32, packed).int().contiguous()


def _pack_gptq(weight_OI: Tensor) -> Packed:
    """Inputs are packed; a zero point is stored less one."""
    levels_OGg, scale_OG, stands_for = _levels(weight_OI)
    levels_OI, (channels, groups) = levels_OGg.flatten(1), scale_OG.shape
    return {
        "qweight": _pack(levels_OI).t().contiguous(),
        "qzeros": _pack(torch.full((groups, channels), 7)),
        "scales": scale_OG.t().half().contiguous(),
        "g_idx": (torch.arange(levels_OI.shape[1]) // GROUP).int(),
    }, stands_for


def _pack_awq(weight_OI: Tensor) -> Packed:
    """Channels are packed, in an order of their own."""
    levels_OGg, scale_OG, stands_for = _levels(weight_OI)
    return {
        "qweight": _pack(levels_OGg.flatten(1).t(), _AWQ_ORDER),
        "qzeros": _pack(torch.full((scale_OG.shape[1], scale_OG.shape[0]), 8), _AWQ_ORDER),
        "scales": scale_OG.t().half().contiguous(),
    }, stands_for


def _pack_four_bits(weight_OI: Tensor) -> Packed:
    levels_OGg, scale_OG, stands_for = _levels(weight_OI)
    return {
        "weight_packed": _pack(levels_OGg.flatten(1)),
        "weight_scale": scale_OG.contiguous(),
        "weight_shape": torch.tensor(weight_OI.shape),
    }, stands_for


def _pack_channels(weight_OI: Tensor) -> Packed:
    """A scale per channel; inputs are rounded too, as they come."""
    scale_O1 = weight_OI.abs().amax(1, keepdim=True) / torch.finfo(_E4M3).max
    narrow_OI = (weight_OI / scale_O1).to(_E4M3)
    return {"weight": narrow_OI, "weight_scale": scale_O1}, narrow_OI.float() * scale_O1


def _compressed(form: str, **weights: Any) -> dict[str, Any]:
    scheme = {"type": "int", "symmetric": True, "dynamic": False, "actorder": None, "observer": "minmax"} | weights
    inputs = scheme | {"strategy": "token", "dynamic": True, "observer": None} if scheme["type"] == "float" else None
    group = {"targets": ["Linear"], "weights": scheme, "input_activations": inputs, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head", "re:.*visual.*"],
        "kv_cache_scheme": None,
    }


_KEPT = ["lm_head", "visual", "model.visual"]
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "fp8": Format(
            settings={
                "quant_method": "fp8",
                "fmt": "e4m3",
                "activation_scheme": "dynamic",
                "weight_block_size": [BLOCK, BLOCK],
                "modules_to_not_convert": _KEPT,
            },
            pack=_pack_fp8,
            modules=("accelerate",),
        ),
        "bitsandbytes-8": Format(settings={"load_in_8bit": True}, pack=None, modules=("bitsandbytes", "accelerate")),
        "bitsandbytes-4": Format(
            settings={"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32},
            pack=None,
            modules=("bitsandbytes", "accelerate"),
        ),
        "compressed-tensors-4": Format(
            settings=_compressed("pack-quantized", num_bits=4, strategy="group", group_size=GROUP),
            pack=_pack_four_bits,
            modules=("compressed_tensors",),
        ),
        "compressed-tensors-8": Format(
            settings=_compressed("float-quantized", type="float", num_bits=8, strategy="channel", group_size=None),
            pack=_pack_channels,
            modules=("compressed_tensors",),
        ),
        "gptq": Format(
            settings={
                "quant_method": "gptq",
                "bits": 4,
                "group_size": GROUP,
                "sym": True,
                "desc_act": False,
                "checkpoint_format": "gptq",
            },
            pack=_pack_gptq,
            modules=("optimum", "gptqmodel"),
        ),
        "awq": Format(
            settings={
                "quant_method": "awq",
                "bits": 4,
                "group_size": GROUP,
                "version": "gemm",
                "zero_point": True,
                "modules_to_not_convert": _KEPT,
            },
            pack=_pack_awq,
            modules=("gptqmodel", "accelerate"),
        ),
    }
)
