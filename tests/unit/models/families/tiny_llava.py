"""Small random LLaVA-OneVision models, a byte-level tokenizer with the family's tokens, and its published template."""

from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration, Qwen2Tokenizer

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
# a line break and what follows it become one token, so cutting the text at the wrong place would show
MERGES = [("Ċ", "W"), ("Ċ", "Ċ"), ("h", "a"), ("ha", "t")]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>' }}{% endfor %}{# Render all video then #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'video') %}{{ '<video>' }}{% endfor %}"
    "{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ '\n' + content['text'] }}{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ '\n' + content['text'] }}{% endgeneration %}{% endfor %}{% endif %}"
    "{{'<|im_end|>'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_VISION = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "vision_use_head": False}
_VISION |= {"num_hidden_layers": 3, "num_attention_heads": 4, "patch_size": 14}
_TEXT = {"model_type": "qwen2", "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
_TEXT |= {"num_key_value_heads": 2, "max_position_embeddings": 4_096, "initializer_range": 0.15}
# 4 x 4 patches pooled to 2 x 2 tokens; 5 x 5 pooled to 3 x 3, where neighbours overlap, out of an earlier layer
SHAPES: dict[str, dict[str, Any]] = {
    "even": {"vision_config": _VISION | {"image_size": 56}, "text_config": _TEXT | {"hidden_size": 64}},
    "odd": {
        "vision_config": _VISION | {"image_size": 70},
        "text_config": _TEXT | {"hidden_size": 48},
        "vision_feature_layer": -2,
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
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<image>", "<video>"]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(tokenizer: Any, shape: str = "even", *, seed: int = 5) -> Any:
    """In float32, with noise in every parameter: zero biases and unit norms would hide mistakes."""
    torch.manual_seed(seed)
    settings = SHAPES[shape]
    end_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    text = settings["text_config"] | {"vocab_size": len(tokenizer), "eos_token_id": end_id, "bos_token_id": None}
    config = LlavaOnevisionConfig(
        **(settings | {"text_config": text}),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        tie_word_embeddings=False,
    )
    model = LlavaOnevisionForConditionalGeneration(config)
    with torch.no_grad():
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.5)
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()
