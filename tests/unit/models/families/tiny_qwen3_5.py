"""Small random Qwen3.5 checkpoints, dense and of experts, from stock configuration classes."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen3_5Config, Qwen3_5MoeConfig

from pipeline.models.registry import FAMILIES
from tests.unit.models.families import tiny_qwen3

# As published in what matters here: the user's text is trimmed, and without its switch the template thinks.
CHAT_TEMPLATE = (
    "{%- macro show(content) -%}{%- for part in content -%}{%- if part.type == 'video' -%}"
    "{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}{%- elif 'text' in part -%}{{- part.text -}}"
    "{%- else -%}{{- raise_exception('Unexpected item type in content.') -}}{%- endif -%}{%- endfor -%}{%- endmacro -%}"
    "{%- for message in messages -%}{{- '<|im_start|>' + message.role + '\\n' + show(message.content)|trim -}}"
    "{{- '<|im_end|>\\n' -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}"
    "{%- else -%}{{- '<think>\\n' -}}{%- endif -%}{%- endif -%}"
)
_EXPERTS = {
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 40,
}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Qwen3-VL's of bytes with this family's template."""
    tokenizer = tiny_qwen3.build_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_config(tokenizer: Any, *, kind: str) -> Any:
    """``small``: every second of four layers has full attention. ``pattern``: every fourth, as published.

    ``experts``: ``small`` with a mixture of experts.
    """
    is_pattern = kind == "pattern"
    architecture = Qwen3_5MoeConfig if kind == "experts" else Qwen3_5Config
    token = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("im_end", "endoftext")}
    return architecture(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 48 if is_pattern else 32,
            "num_hidden_layers": 4,
            "full_attention_interval": 4 if is_pattern else 2,
            "num_attention_heads": 4 if is_pattern else 2,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 6 if is_pattern else 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 16 if is_pattern else 8,
            "linear_conv_kernel_dim": 4,
            "max_position_embeddings": 262_144,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
                "partial_rotary_factor": 0.25,
            },
            "eos_token_id": token["im_end"],
            "pad_token_id": token["endoftext"],
        }
        | (_EXPERTS if kind == "experts" else {"intermediate_size": 64}),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 16,
            "out_hidden_size": 48 if is_pattern else 32,
            "num_position_embeddings": 36 if is_pattern else 16,
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
        for layer in model.model.language_model.layers:
            if layer.block_type == "full_attention":
                layer.self_attn.q_norm.weight.add_(3)  # nor may attention be even, or no token would matter
            else:
                layer.linear_attn.A_log.uniform_(-5, -2)  # a state that forgets nothing at once
                layer.linear_attn.out_proj.weight.mul_(4)  # and that counts
    return model.eval()
