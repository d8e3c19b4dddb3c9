"""The demo model's shape: the stock Qwen2.5-VL architecture, small enough to train and to run on two CPU cores."""

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

FRAME_SIDE_PX = 56  # after resize: 2 x 2 visual tokens per temporal patch
_EMBEDDING_STD = 0.5
_LANGUAGE_STD = 0.06


def demo_config(
    tokenizer: PreTrainedTokenizerFast, *, vision_depth: int = 2, vision_width: int = 96, text_layers: int = 4
) -> Qwen2_5_VLConfig:
    """About 1.2 M parameters; every name and token role as in the published checkpoints."""
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("im_end", "endoftext")}
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 320,
            "num_hidden_layers": text_layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32_768,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
            "initializer_range": _LANGUAGE_STD,
            "bos_token_id": ids["endoftext"],
            "eos_token_id": ids["im_end"],
            "pad_token_id": ids["endoftext"],
        },
        vision_config={
            "depth": vision_depth,
            "hidden_size": vision_width,
            "intermediate_size": 2 * vision_width,
            "num_heads": 4,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 56,
            "out_hidden_size": 128,
            "fullatt_block_indexes": list(range(1, vision_depth)),
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )


@torch.no_grad()
def widen_vocabulary(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> None:
    """Give a trained model more words: rows of known ids stay as they are, new ones are drawn like the first ones.

    Raises:
        ValueError: If the tokenizer knows fewer words than the model.
    """
    known = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) < known:
        raise ValueError(f"the tokenizer must know at least the model's {known} words, it knows {len(tokenizer)}")
    random = torch.Generator().manual_seed(seed)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for module, std in ((model.get_input_embeddings(), _EMBEDDING_STD), (model.lm_head, _LANGUAGE_STD)):
        new = module.weight[known:]
        new.copy_(torch.randn(new.shape, generator=random) * std)


def build_demo_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    vision_depth: int = 2,
    vision_width: int = 96,
    text_layers: int = 4,
) -> Qwen2_5_VLForConditionalGeneration:
    """Random weights, float32; the tower starts at unit gain and word embeddings wide, or training sits on plateaus."""
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(
        demo_config(tokenizer, vision_depth=vision_depth, vision_width=vision_width, text_layers=text_layers)
    )
    for module in model.model.visual.modules():
        if isinstance(module, nn.Linear):  # the stock 0.02 is meant for wide layers: here it would shut the blocks off
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    nn.init.normal_(model.get_input_embeddings().weight, std=_EMBEDDING_STD)
    return model
