"""Small random Qwen3-VL checkpoints, dense and of experts, and a byte tokenizer, from stock configuration classes."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLMoeConfig

from pipeline.models.registry import FAMILIES

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, so that every character of a timestamp tells."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, *SPECIAL_TOKENS])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


# as published, but for their number, and that one layer has none
_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "mlp_only_layers": [1]}


def build_config(tokenizer: Any, *, kind: str) -> Any:
    """``small``: two deepstack layers, three language layers. ``wide``: three of four, grouped heads, odd grid.

    ``experts``: ``small`` with a mixture of experts in two layers of three.
    """
    is_small = kind != "wide"
    architecture, experts = (Qwen3VLMoeConfig, _EXPERTS) if kind == "experts" else (Qwen3VLConfig, {})
    width = 32 if is_small else 48
    token = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("im_end", "endoftext")}
    return architecture(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 64,
            "num_hidden_layers": 3 if is_small else 4,
            "num_attention_heads": 2 if is_small else 6,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 262_144,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [4, 2, 2] if is_small else [2, 3, 3],
                "mrope_interleaved": True,
            },
            "eos_token_id": token["im_end"],
            "pad_token_id": token["endoftext"],
        }
        | experts,
        vision_config={
            "depth": 3 if is_small else 4,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 16,
            "out_hidden_size": width,
            "num_position_embeddings": 16 if is_small else 36,
            "deepstack_visual_indexes": [0, 1] if is_small else [0, 1, 3],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )


def build_model(tokenizer: Any, *, kind: str, seed: int) -> Any:
    torch.manual_seed(seed)
    config = build_config(tokenizer, kind=kind)
    model = FAMILIES[config.model_type].architecture(config)
    with torch.no_grad():  # zero biases, unit norms and weights of 0.02 would hide mistakes
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        model.get_input_embeddings().weight.normal_(std=0.5)
        for layer in model.model.language_model.layers:  # nor may attention be even, or no token would matter
            layer.self_attn.q_norm.weight.mul_(4)
    return model.eval()
