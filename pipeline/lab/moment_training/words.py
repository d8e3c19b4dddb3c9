"""The vocabulary of the model that knows moments: the demo's words, all kinds of object, letters of signs, places."""

from transformers import PreTrainedTokenizerFast

from pipeline.demo.scenes import COLORS, SHAPES
from pipeline.lab.demo_training.vocabulary import EVENT_SENTENCES, SENTENCES, tokenizer_of
from pipeline.lab.moments.kinds import KINDS_OF_OBJECT
from pipeline.lab.moments.sprites import GLYPHS

_PLACE_SENTENCES = ("left right above below between and time on sign letter third picture beside under over",)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The same on every machine; whole words."""
    sentences = (*SENTENCES, *EVENT_SENTENCES, *_PLACE_SENTENCES)
    words = [word for sentence in sentences for word in sentence.split()]
    return tokenizer_of([*COLORS, *SHAPES, *words, *KINDS_OF_OBJECT, *GLYPHS])
