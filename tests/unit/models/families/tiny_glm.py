"""Small random GLM-4.xV checkpoints, dense and of experts, a byte tokenizer, and the family's templates."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import Glm4vConfig, Glm4vMoeConfig, Glm46VConfig, PreTrainedTokenizerFast

from pipeline.models.registry import FAMILIES

SPECIAL_TOKENS = (
    *("<|endoftext|>", "[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|observation|>", "/nothink"),
    *("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|image|>", "<|video|>"),
)
ANSWER_MARKS = ("<|begin_of_box|>", "<|end_of_box|>")  # which the release's tokenizer does not call special
_MEDIA = (
    "{% if item.type == 'video' or 'video' in item %}<|begin_of_video|><|video|><|end_of_video|>"
    "{% elif item.type == 'image' or 'image' in item %}<|begin_of_image|><|image|><|end_of_image|>"
    "{% elif item.type == 'text' %}{{ item.text }}{% endif %}"
)
# GLM-4.5V and 4.6V, shortened to a user's message: thinking is the default, and switched off in two places
CHAT_TEMPLATE = (
    "[gMASK]<sop>{% for m in messages %}<|user|>\n"
    "{% for item in m.content %}" + _MEDIA + "{% endfor %}"
    "{{- '/nothink' if (enable_thinking is defined and not enable_thinking) else '' -}}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n"
    "{{'<think></think>\n' if (enable_thinking is defined and not enable_thinking) else ''}}{% endif %}"
)
# GLM-4.1V-Thinking, which always thinks, and opens its thought itself
THINKING_TEMPLATE = (
    "[gMASK]<sop>\n{% for m in messages %}<|user|>\n{% for item in m.content %}" + _MEDIA + "{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# shape -> configuration, processor; GLM-4.6V-Flash comes under the name of 4.1V's family
SHAPES = {
    "dense": (Glm4vConfig, "Glm46VProcessor"),
    "experts": (Glm4vMoeConfig, "Glm4vProcessor"),
    "seconds": (Glm46VConfig, "Glm46VProcessor"),
}


def build_tokenizer(shape: str = "dense") -> PreTrainedTokenizerFast:
    """One token per byte, so that every character of a timestamp tells."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, *SPECIAL_TOKENS, *ANSWER_MARKS])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS),
        processor_class=SHAPES[shape][1],
    )
    fast.add_tokens([*ANSWER_MARKS])
    fast.chat_template = CHAT_TEMPLATE
    return fast


# as published, but for their number; the first layer has none
_EXPERTS = {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 24}
_EXPERTS |= {"first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "norm_topk_prob": True}
_EXPERTS |= {"routed_scaling_factor": 1.0, "head_dim": 16}


def build_config(tokenizer: Any, *, shape: str) -> Any:
    """``dense``: three layers, a square grid. ``experts``: more heads, an odd grid. ``seconds``: as ``dense``."""
    is_small = shape != "experts"
    width = 32 if is_small else 96
    token = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL_TOKENS}
    ends = [token[name] for name in ("<|endoftext|>", "<|user|>", "<|observation|>")]
    return SHAPES[shape][0](
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2 if is_small else 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": 65_536,
            "attention_bias": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
                "mrope_section": [2, 1, 1] if is_small else [1, 2, 1],  # of 4 frequencies, half of a head's 8
            },
            "eos_token_id": ends,
            "pad_token_id": token["<|endoftext|>"],
        }
        | ({} if is_small else _EXPERTS),
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "image_size": 56 if is_small else 84,  # a learned table of 4 x 4 or 6 x 6 places
            "out_hidden_size": width,
        },
        image_token_id=token["<|image|>"],
        video_token_id=token["<|video|>"],
        image_start_token_id=token["<|begin_of_image|>"],
        image_end_token_id=token["<|end_of_image|>"],
        video_start_token_id=token["<|begin_of_video|>"],
        video_end_token_id=token["<|end_of_video|>"],
        tie_word_embeddings=False,
    )


def build_model(tokenizer: Any, *, shape: str, seed: int) -> Any:
    torch.manual_seed(seed)
    config = build_config(tokenizer, shape=shape)
    model = FAMILIES[config.model_type].architecture(config)
    with torch.no_grad():  # zero biases, unit norms and weights of 0.02 would hide mistakes
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        model.get_input_embeddings().weight.normal_(std=0.5)
        unsaid = ("<|image|>", "<|video|>", "<|begin_of_video|>", "<|end_of_video|>")  # stock would take them for media
        model.lm_head.weight[tokenizer.convert_tokens_to_ids([*unsaid])] = 0
        for layer in model.model.language_model.layers:  # nor may attention be even, or no token would matter
            layer.self_attn.q_proj.weight.mul_(3 if shape == "experts" else 5)
            if hasattr(layer.mlp, "gate"):  # a buffer that shifts the choice of experts; 16 bits can hold it
                layer.mlp.gate.e_score_correction_bias.copy_(torch.arange(8) % 3 / 64)
    return model.eval()
