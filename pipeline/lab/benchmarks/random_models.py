"""Models of a shape with random weights, and a tokenizer of whole words. What such a model says means nothing."""

from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import InternVLConfig, PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen3VLConfig

from pipeline.lab.benchmarks.model_shapes import ModelShape
from pipeline.models.registry import FAMILIES

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<video>",
    "<image>",
    "<|user|>",
    "<|assistant|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|image|>",
    "<|video|>",
    "<think>",
    "</think>",
    "<unk>",
)
FILLER_WORDS = tuple(f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
_WORDS = "A B C D E F user system assistant Frame seconds Answer with the option ' s letter from given choices directly"
# Words, digits one by one, punctuation and line breaks: about as many tokens of text as the published tokenizers make.
_PIECES = r"\n|\p{L}+|\p{N}|[^\s\p{L}\p{N}]"
# how a family's chat template puts a video, and what it lets a response start with
_QWEN_VIDEO, _OTHER_VIDEO = "<|vision_start|><|video_pad|><|vision_end|>", {"internvl": "<video>\n"}
_OTHER_VIDEO |= {"llava_onevision": "<video>\n"}
_OTHER_VIDEO |= dict.fromkeys(("glm4v", "glm4v_moe", "glm46v"), "<|begin_of_video|><|video|><|end_of_video|>")


def family_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Whole words, with the family's special tokens and where its chat template puts the video."""
    tokens = dict.fromkeys([*SPECIAL_TOKENS, *_WORDS.split(), *FILLER_WORDS, *".:<>\n0123456789"])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True)
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token != "<unk>"],
        processor_class="Glm4vProcessor",
    )
    video, start = _OTHER_VIDEO.get(family, _QWEN_VIDEO), "<think></think>\n" if family.startswith("glm4") else ""
    fast.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
        "{% if content['type'] == 'video' %}" + video + "{% else %}{{ content['text'] }}{% endif %}{% endfor %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n" + start + "{% endif %}"
    )
    return fast


def video_token(family: str) -> str:
    """What the family's chat template puts where the video goes."""
    return FAMILIES[family].video_token


def build_config(shape: ModelShape, tokenizer: PreTrainedTokenizerFast) -> Any:
    """The family's configuration with this tokenizer's token ids."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    ends = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"], "bos_token_id": None}
    settings = dict(shape.settings) | {"text_config": shape.settings["text_config"] | ends}
    if shape.family == "internvl":
        return InternVLConfig(**settings, image_token_id=ids["<IMG_CONTEXT>"])
    roles = {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }
    build: Callable[..., Any] = {"qwen2_5_vl": Qwen2_5_VLConfig, "qwen3_vl": Qwen3VLConfig}[shape.family]
    return build(**settings, **roles)


def count_parameters(config: Any) -> int:
    """Parameters of a configuration's model, without memory for them."""
    return sum(parameter.numel() for parameter in _build(config, device="meta", dtype=torch.bfloat16).parameters())


def build_stock_model(config: Any, *, device: str, dtype: torch.dtype) -> Any:
    """The stock class with random weights, made where they stay, with eager attention.

    Raises:
        ValueError: The weights alone exceed the free memory of the GPU.
    """
    needed = count_parameters(config) * dtype.itemsize
    if device.startswith("cuda") and needed > (free := torch.cuda.mem_get_info(device)[0]):
        raise ValueError(
            f"the weights need {needed / 1e9:.0f} GB in {dtype}, {device} has {free / 1e9:.0f} GB free; "
            "choose a smaller --model-shape"
        )
    torch.manual_seed(0)
    return _build(config, device=device, dtype=dtype).eval().requires_grad_(False)


def _build(config: Any, *, device: str, dtype: torch.dtype) -> Any:
    architecture = FAMILIES[config.model_type].architecture
    with torch.device(device):
        return architecture._from_config(config, dtype=dtype, attn_implementation="eager")
