"""Writes a tiny model into a folder laid out as the family's published checkpoints are, which differs from what
``save_pretrained`` writes today: older names, a flat configuration, templates in other files, bfloat16 in two shards.

Read in public copies in November 2026; the names are those of the release of each family.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load_file, save_file

# The text model's template in tokenizer_config.json, shortened …
TOOLS_TEMPLATE = """{%- if tools %}{{- '<|im_start|>system\\n# Tools' }}
{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
{%- else %}{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
# … and the one for videos in chat_template.json, both of Qwen2.5-VL.
VISION_TEMPLATE = (
    "{% set video_count = namespace(value=0) %}{% for message in messages %}{% if loop.first and message['role'] != "
    "'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>"
    "{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content %}<|vision_start|>"
    "<|image_pad|><|vision_end|>{% elif content['type'] == 'video' or 'video' in content %}{% set video_count.value = "
    "video_count.value + 1 %}{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}<|vision_start|>"
    "<|video_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# native name -> published name
RENAMED: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "qwen2_5_vl": ((r"^model\.visual\.", "visual."), (r"^model\.language_model\.", "model.")),
        "qwen3_vl": (),
        "qwen3_vl_moe": (),
        "qwen3_5": (),
        "qwen3_5_moe": (),
        "internvl": (
            (r"^lm_head\.", "language_model.lm_head."),
            (r"^model\.language_model\.", "language_model.model."),
            (r"^model\.", ""),
        ),
        "glm4v": (),
        "glm4v_moe": (),
        "glm46v": (),
        "llava_onevision": (
            (r"^lm_head\.", "language_model.lm_head."),
            (r"^model\.language_model\.", "language_model.model."),
            (r"^model\.vision_tower\.", "vision_tower.vision_model."),
            (r"^model\.", ""),
        ),
    }
)


def write_published(folder: Path, model: Any, tokenizer: Any) -> list[str]:
    """Write all files; returns the names of the tensors."""
    family = model.config.model_type
    (folder / "config.json").write_text(json.dumps(_CONFIGS[family](model.config.to_dict())))
    tokenizer.save_pretrained(folder)
    if not family.startswith("qwen3_5"):  # which has chat_template.jinja, as is written today
        _write_templates(folder, tokenizer.chat_template, is_text_models=family == "qwen2_5_vl")
    pad_id, *end_ids = (tokenizer.convert_tokens_to_ids(token) for token in end_tokens(family))
    sampling = {"do_sample": True, "temperature": 0.1, "top_k": 1, "repetition_penalty": 1.05}
    ends = {"eos_token_id": [*end_ids, pad_id], "pad_token_id": pad_id, "transformers_version": "4.49.0"}
    (folder / "generation_config.json").write_text(json.dumps(sampling | ends))
    (folder / "preprocessor_config.json").write_text(json.dumps({"min_pixels": 3_136, "max_pixels": 12_845_056}))
    (folder / "README.md").write_text("license: apache-2.0")
    weights = {_rename(name, family): weight for name, weight in model.state_dict().items()}
    if family in ("internvl", "glm4v_moe"):
        weights = dict(_each_expert(weights))
    if family.startswith("qwen3_5"):
        weights |= _guessing_layers(model.config.text_config.hidden_size)
    is_turned = family == "qwen3_vl_moe"
    return _write_shards(folder, {n: _round(_turn(n, w) if is_turned else w) for n, w in weights.items()})


def tie_head(folder: Path) -> None:
    """As small sizes are published: no output head in the files; the configuration says so where it says anything."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    (head,) = (name for name in index["weight_map"] if name.endswith("lm_head.weight"))
    shard = folder / index["weight_map"].pop(head)
    save_file({name: weight for name, weight in load_file(shard).items() if name != head}, shard, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = json.loads((folder / "config.json").read_text())
    if "tie_word_embeddings" in config:
        config["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(config))


def end_tokens(family: str) -> tuple[str, ...]:
    """What ends a response; the first pads too."""
    return ("<|endoftext|>", *(("<|user|>", "<|observation|>") if family.startswith("glm4") else ("<|im_end|>",)))


def _rename(name: str, family: str) -> str:
    for pattern, published in RENAMED[family]:
        name = re.sub(pattern, published, name)
    return name


def _each_expert(weights: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """A tensor per expert and projection, as text models of experts are published."""
    for name, weight in weights.items():
        start, is_expert, end = name.partition(".mlp.experts.")
        if not is_expert:
            yield name, weight
            continue
        for number, expert in enumerate(weight):
            parts = dict(zip(("gate_proj", "up_proj"), expert.chunk(2), strict=True)) if end == "gate_up_proj" else {}
            for part, values in (parts or {"down_proj": expert}).items():
                yield f"{start}.mlp.experts.{number}.{part}.weight", values


def _guessing_layers(width: int) -> dict[str, torch.Tensor]:
    """Some of the layers that guess several tokens at once, which stock code does not load."""
    shapes = {
        "mtp.fc.weight": (width, 2 * width),
        "mtp.layers.0.mlp.gate_proj.weight": (2 * width, width),
        "mtp.norm.weight": (width,),
        "mtp.pre_fc_norm_embedding.weight": (width,),
    }
    return {name: torch.ones(shape) for name, shape in shapes.items()}


def _turn(name: str, weight: torch.Tensor) -> torch.Tensor:
    """Experts in one tensor have one column per output."""
    return weight.mT if weight.dim() == 3 and ".mlp.experts." in name else weight


def _round(weight: torch.Tensor) -> torch.Tensor:
    return weight.to(torch.bfloat16).contiguous()


def _write_shards(folder: Path, weights: dict[str, torch.Tensor]) -> list[str]:
    names, places = sorted(weights), {}
    for number, shard in enumerate((names[::2], names[1::2]), start=1):
        file_name = f"model-{number:05}-of-00002.safetensors"
        save_file({name: weights[name] for name in shard}, folder / file_name, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file_name)
    size = sum(weight.nbytes for weight in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return names


def _write_templates(folder: Path, template: str, *, is_text_models: bool) -> None:
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    own = TOOLS_TEMPLATE if is_text_models else template
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": own}))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))


def _old_text(text: dict[str, Any], *, scaling: dict[str, Any]) -> dict[str, Any]:
    """Rotary settings under their old names."""
    rope = text.pop("rope_parameters")
    for name in ("dtype", "layer_types", "transformers_version", "_name_or_path"):
        text.pop(name, None)
    kept = {name: value for name, value in rope.items() if name not in ("rope_type", "rope_theta")}
    return text | {"rope_theta": rope["rope_theta"], "rope_scaling": kept | scaling}


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """Text fields at the top level."""
    text = _old_text(config.pop("text_config"), scaling={"type": "mrope"})
    text.pop("model_type")
    config["vision_config"]["model_type"] = "qwen2_5_vl"
    return text | _old_top(config, "4.41.2") | {"tie_word_embeddings": False}


def _nested(config: dict[str, Any]) -> dict[str, Any]:
    config["text_config"] = _old_text(config["text_config"], scaling={"rope_type": "default"})
    config["text_config"].pop("tie_word_embeddings", None)
    return _old_top(config, "4.57.0.dev0") | {"tie_word_embeddings": False}


def _without_tie(config: dict[str, Any]) -> dict[str, Any]:
    rope_type = config["text_config"]["rope_parameters"]["rope_type"]
    config["text_config"] = _old_text(config["text_config"], scaling={"rope_type": rope_type})
    for part in (config, config["text_config"]):
        part.pop("tie_word_embeddings", None)
    return _old_top(config, "4.52.0.dev0")


def _hybrid(config: dict[str, Any]) -> dict[str, Any]:
    """Fields of the time beside those of today; the vision part goes by the name of the whole."""
    text, vision = config["text_config"], config["vision_config"]
    for name in ("transformers_version", "_name_or_path"):
        text.pop(name, None)
    text |= {"attn_output_gate": True, "dtype": "bfloat16", "mamba_ssm_dtype": "float32", "mlp_only_layers": []}
    text |= {"mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False}
    vision |= {"model_type": config["model_type"], "deepstack_visual_indexes": []}
    return _old_top(config, "4.57.0.dev0") | {"tie_word_embeddings": False}


def _glm(config: dict[str, Any]) -> dict[str, Any]:
    """Rotary settings under their old names, and how much of a head is rotated beside them."""
    text = _old_text(config["text_config"], scaling={"rope_type": "default"})
    text |= {"partial_rotary_factor": text["rope_scaling"].pop("partial_rotary_factor")}
    config["text_config"] = text
    return _old_top(config, "4.57.1") | {"tie_word_embeddings": False}


def _llava(config: dict[str, Any]) -> dict[str, Any]:
    """Text settings without a word on rotary scaling, which the release had none of."""
    config["text_config"] = _old_text(config["text_config"], scaling={})
    config["text_config"].pop("rope_scaling")
    return _old_top(config, "4.45.0.dev0") | {"tie_word_embeddings": False, "use_image_newline_parameter": True}


def _old_top(config: dict[str, Any], version: str) -> dict[str, Any]:
    config.pop("dtype", None)
    return config | {"torch_dtype": "bfloat16", "transformers_version": version}


_CONFIGS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = MappingProxyType(
    {
        "qwen2_5_vl": _flat,
        "qwen3_vl": _nested,
        "qwen3_vl_moe": _nested,
        "qwen3_5": _hybrid,
        "qwen3_5_moe": _hybrid,
        "internvl": _without_tie,
        "llava_onevision": _llava,
    }
    | dict.fromkeys(("glm4v", "glm4v_moe", "glm46v"), _glm)
)
