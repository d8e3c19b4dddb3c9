"""Writes a tiny native InternVL as its authors would publish it, written from the map of names, key head by key head.

Also a SentencePiece model file, byte by byte, and its way to cut text: the best pair first, over characters.
"""

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

NAMES = {
    "embeddings.cls_token": "embeddings.class_embedding",
    "embeddings.position_embeddings": "embeddings.position_embedding",
    "embeddings.patch_embeddings.projection": "embeddings.patch_embedding",
    "encoder.layer": "encoder.layers",
    "attention.projection_layer": "attn.proj",
    "attention.q_norm": "attn.q_norm",
    "attention.k_norm": "attn.k_norm",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "lambda_1": "ls1",
    "lambda_2": "ls2",
}
PROJECTOR = {"layer_norm": "0", "linear_1": "1", "linear_2": "3"}
INTERNLM2 = {
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "embed_tokens": "tok_embeddings",
}
SYSTEM = "You are 'InternVL'.\nBe \\ brief."
CONVERSATION = f"""
import dataclasses
raise SystemExit("remote code ran")
register_conv_template(
    Conversation(name="other", system_template="<|system|>", system_message="no", roles=("a", "b"), sep="")
)
register_conv_template(
    Conversation(
        name="internvl2_5",
        system_template="<|im_start|>system\\n{{system_message}}",
        system_message={SYSTEM!r},
        roles=("<|im_start|>user\\n", "<|im_start|>assistant\\n"),
        sep_style=SeparatorStyle.MPT,
        sep="<|im_end|>\\n",
    )
)
"""


def original_weights(model: Any) -> dict[str, torch.Tensor]:
    """Every tensor of a native model under its original name, fused where the original is."""
    text, weights = model.config.text_config, dict(model.state_dict())
    found: dict[str, torch.Tensor] = {}
    for name in list(weights):
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if name.startswith("model.vision_tower."):
            found |= _vision(name.removeprefix("model.vision_tower."), name, weights)
        elif name.startswith("model.multi_modal_projector."):
            part, kind = name.removeprefix("model.multi_modal_projector.").split(".")
            found[f"mlp1.{PROJECTOR[part]}.{kind}"] = weights[name]
        elif text.model_type == "llama":
            found |= _internlm2(name, weights, text)
        else:
            found |= {_qwen(other): weights[other] for other in _with_keys_and_values(name)}
    return found


def _with_keys_and_values(name: str) -> list[str]:
    return [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"] if ".q_proj." in name else [name]


def _qwen(name: str) -> str:
    return "language_model." + name.replace("model.language_model.", "model.")


def _vision(own: str, name: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if ".attention.q_proj." in own:
        parts = [weights[other] for other in _with_keys_and_values(name)]
        layer, kind = own.split(".")[2], own.rpartition(".")[2]
        return {f"vision_model.encoder.layers.{layer}.attn.qkv.{kind}": torch.cat(parts)}
    for native, original in NAMES.items():
        own = own.replace(native, original)
    return {f"vision_model.{own}": weights[name]}


def _internlm2(name: str, weights: dict[str, torch.Tensor], text: Any) -> dict[str, torch.Tensor]:
    if name == "lm_head.weight":
        return {"language_model.output.weight": weights[name]}
    own = name.removeprefix("model.language_model.")
    if ".q_proj." in own:
        q, k, v = (weights[other] for other in _with_keys_and_values(name))
        width, rows = text.head_dim, []
        groups = text.num_attention_heads // text.num_key_value_heads
        for head in range(text.num_key_value_heads):
            for group in range(groups):
                start = (head * groups + group) * width
                rows.append(q[start : start + width])
            rows.append(k[head * width : (head + 1) * width])
            rows.append(v[head * width : (head + 1) * width])
        return {f"language_model.model.layers.{own.split('.')[1]}.attention.wqkv.weight": torch.cat(rows)}
    for native, original in INTERNLM2.items():
        own = own.replace(native, original)
    return {f"language_model.model.{own}": weights[name]}


def original_config(model: Any) -> dict[str, Any]:
    """As published: what is not native stands between what is."""
    text, vision = model.config.text_config.to_dict(), model.config.vision_config.to_dict()
    rope = text.pop("rope_parameters")
    scaling = {"type": rope["rope_type"], "factor": rope.get("factor", 1.0)} if rope["rope_type"] != "default" else None
    is_internlm2 = text["model_type"] == "llama"
    llm = {key: value for key, value in text.items() if key not in ("dtype", "eos_token_id", "layer_types")}
    llm |= {"rope_theta": rope["rope_theta"], "rope_scaling": scaling, "eos_token_id": 2, "use_bfloat16": True}
    llm |= {"model_type": "internlm2" if is_internlm2 else text["model_type"], "bias": False, "moe_config": None}
    llm |= {"auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config"}, "tie_word_embeddings": False}
    names = {"attention_bias": "qkv_bias", "use_qk_norm": "qk_normalization"}
    vit = {names.get(key, key): value for key, value in vision.items()}
    side, patch = vision["image_size"][0], vision["patch_size"][0]
    vit |= {"image_size": side, "patch_size": patch, "model_type": "intern_vit_6b", "drop_path_rate": 0.1}
    return {
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
        "model_type": "internvl_chat",
        "llm_config": llm,
        "vision_config": vit,
        "downsample_ratio": 0.5,
        "force_image_size": side,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "system_message": None,
        "torch_dtype": "bfloat16",
    }


def write_original(folder: Path, model: Any) -> Path:
    """Everything but the tokenizer: weights in two shards, configuration, and code that must never run."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, places = original_weights(model), {}
    names = sorted(weights)
    for number, shard in enumerate((names[::2], names[1::2]), start=1):
        file_name = f"model-{number:05}-of-00002.safetensors"
        save_file({name: weights[name].contiguous() for name in shard}, folder / file_name, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file_name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "config.json").write_text(json.dumps(original_config(model)))
    (folder / "conversation.py").write_text(CONVERSATION)
    for name in ("configuration_internvl_chat", "modeling_internvl_chat", "tokenization_internlm2"):
        (folder / f"{name}.py").write_text("raise SystemExit('remote code ran')")
    return folder


# --- InternLM2's tokenizer: ids 0 to 2 are control pieces, then bytes, pieces, and room for the chat's own tokens
WORDS = "the quick brown fox jumps over 12 lazy dogs and counts frames: Frame1 what is it shown"
CHAT = ("<|im_end|>", "<|im_start|>")
BEYOND = ("<img>", "</img>", "<IMG_CONTEXT>", "<quad>")


def _vocabulary() -> list[tuple[str, float, int]]:
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    characters = sorted({*WORDS.replace(" ", "▁"), *"ABCDEFGHI.?\n"} - {"\n"})
    seen, rank = set(characters), 0
    for word in WORDS.split():
        for text in (f"▁{word}", word):
            for end in range(2, len(text) + 1):
                if text[:end] not in seen:
                    seen.add(text[:end])
                    pieces.append((text[:end], -float(rank), 1))
                    rank += 1
    pieces += [(character, -float(rank + number), 1) for number, character in enumerate(characters)]
    return [*pieces, ("[UNUSED_TOKEN_1]", 0.0, 4), ("[UNUSED_TOKEN_2]", 0.0, 4)]


VOCABULARY = _vocabulary()


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def write_internlm2_tokenizer(folder: Path, *, kind: int = 2, adds_space: int = 0) -> None:
    content = b""
    for text, score, piece_kind in VOCABULARY:
        piece = _message(1, text.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", score)
        content += _message(1, piece + _varint(3 << 3) + _varint(piece_kind))
    content += _message(2, _varint(3 << 3) + _varint(kind) + _varint(4 << 3) + _varint(len(VOCABULARY)))
    content += _message(3, _message(1, b"identity") + _varint(3 << 3) + _varint(adds_space))
    (folder / "tokenizer.model").write_bytes(content)
    size = len(VOCABULARY)
    added = dict(zip(CHAT, range(size - len(CHAT), size), strict=True)) | {t: size + i for i, t in enumerate(BEYOND)}
    settings = {
        "tokenizer_class": "InternLM2Tokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "added_tokens_decoder": {str(number): {"content": token, "special": True} for token, number in added.items()},
        "bos_token": "<s>",
        "unk_token": "<unk>",
        "eos_token": "</s>",
        "pad_token": "</s>",
        "add_bos_token": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def cut_text(text: str) -> list[int]:
    """Ids as SentencePiece cuts text without control tokens: characters, the best pair first; bytes for the unknown."""
    ids = {piece: number for number, (piece, _, _) in enumerate(VOCABULARY)}
    scores = {piece: score for piece, score, kind in VOCABULARY if kind == 1}
    parts = list(text.replace(" ", "▁"))
    while True:
        pairs = [(scores[a + b], -i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in scores]
        if not pairs:
            break
        place = -max(pairs)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return [
        number
        for part in parts
        for number in ([ids[part]] if part in ids else [ids[f"<0x{byte:02X}>"] for byte in part.encode()])
    ]
