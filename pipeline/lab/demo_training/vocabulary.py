"""The demo model's tokenizer: whole words, with Qwen's special tokens and chat template."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline.demo.scenes import COLORS, SHAPES

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<unk>",
)
LETTERS = ("A", "B", "C", "D", "E", "F")
SENTENCES = (
    "system user assistant You are a helpful assistant .",
    "What what Which which color colour is the The of does have ? , : ' s",
    "Answer with option letter from given choices directly in words an it It there no",
)
EVENT_SENTENCES = (  # learnt last: their ids stand after all others
    "object appears first last How many times appear at when do not than before after is its second often",
    "0 1 2 3 4 5 6 7 8 9 one two three four five six",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer(*, knows_events: bool = True) -> PreTrainedTokenizerFast:
    """Build it from nothing; the same on every machine. Unknown words become ``<unk>``.

    Args:
        knows_events: False leaves out the words that the first stages of training do not need yet; ids of the others
            are the same.
    """
    sentences = (*SENTENCES, *(EVENT_SENTENCES if knows_events else ()))
    return tokenizer_of([*COLORS, *SHAPES, *(word for sentence in sentences for word in sentence.split())])


def tokenizer_of(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that knows the special tokens, the letters of options and these words, in this order."""
    vocabulary = list(dict.fromkeys([*SPECIAL_TOKENS, *LETTERS, *words]))
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token != "<unk>"],
        model_max_length=32_768,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
