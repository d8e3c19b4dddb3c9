"""Small random InternVL models, a byte-level tokenizer with the family's tokens, and its published chat template."""

from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Tokenizer

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
# two line breaks become one token, so cutting the text at the wrong place would show
MERGES = [("Ċ", "Ċ"), ("F", "r"), ("a", "m"), ("Fr", "am"), ("Fram", "e")]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}"
    "{% elif content['type'] == 'video' %}{{ '<video>\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)
_VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_TEXT = {"intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
_TEXT |= {"initializer_range": 0.15}  # so that a question moves the response
# InternVL3: Qwen2 text with dynamic rotary scaling; InternVL3.5: Qwen3 text, dense or of experts, here with larger
# frames; InternVL2.5: Llama text (InternLM2 natively)
SHAPES: dict[str, dict[str, Any]] = {
    "qwen2-text": {
        "vision_config": _VISION | {"image_size": 56, "attention_bias": True},
        "text_config": _TEXT
        | {
            "model_type": "qwen2",
            "hidden_size": 64,
            "max_position_embeddings": 4_096,
            "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
        },
        "tie_word_embeddings": False,
    },
    "qwen3-text": {
        "vision_config": _VISION | {"image_size": 84, "use_qk_norm": True, "norm_type": "rms_norm"},
        "text_config": _TEXT
        | {"model_type": "qwen3", "hidden_size": 48, "head_dim": 16, "max_position_embeddings": 4_096},
        "tie_word_embeddings": False,
    },
    "qwen3-moe-text": {
        "vision_config": _VISION | {"image_size": 84, "use_qk_norm": True, "norm_type": "rms_norm"},
        "text_config": _TEXT
        | {"model_type": "qwen3_moe", "hidden_size": 48, "head_dim": 16, "max_position_embeddings": 4_096}
        | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": True},
        "tie_word_embeddings": False,
    },
    "llama-text": {
        "vision_config": _VISION | {"image_size": 56, "attention_bias": True},
        "text_config": _TEXT
        | {
            "model_type": "llama",
            "hidden_size": 64,
            "max_position_embeddings": 4_096,
            "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
        },
        "tie_word_embeddings": False,
    },
}


def build_tokenizer() -> Qwen2Tokenizer:
    tokens = [*sorted(ByteLevel.alphabet()), *(first + second for first, second in MERGES), *SPECIAL_TOKENS]
    tokenizer = Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=MERGES,
        unk_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(tokenizer: Any, shape: str = "qwen2-text", *, seed: int = 5) -> Any:
    """In float32, with noise in every parameter: zero biases and unit norms would hide mistakes."""
    torch.manual_seed(seed)
    settings = SHAPES[shape]
    end_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    text = settings["text_config"] | {"vocab_size": len(tokenizer), "eos_token_id": end_id, "bos_token_id": None}
    config = InternVLConfig(
        **(settings | {"text_config": text}),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
    )
    model = InternVLForConditionalGeneration(config)
    with torch.no_grad():
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.5)
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()
