"""What all families' adapters share: names and shapes, question prompts, scoring over a shared prefix.

A family's own file adds ``encode``, ``prefill`` and ``answer``.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch

from pipeline.models.interface import FrameGeometry, ModelLayout, QuestionPrompt, Response
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.models.responses import PendingResponses
from pipeline.models.shared_prefix import SharedPrefix, SharedPrefixScorer
from pipeline.models.text_model import TextModel
from pipeline.settings.config import ScoringConfig

_Layout = TypeVar("_Layout", bound=ModelLayout)


class Adapter(Generic[_Layout]):
    """One loaded checkpoint. One call at a time.

    Args:
        model: stock transformers class of the family.
        tokenizer: of the checkpoint.
        layout: what its configuration says.
        name: checkpoint as given.
        revision: as recorded in rows.
        video_token: where the chat template puts a video.
        rope_axes: leading axis of the text model's ``position_ids``; 1 for plain positions.
    """

    def __init__(
        self, model: Any, tokenizer: Any, layout: _Layout, *, name: str, revision: str, video_token: str, rope_axes: int
    ) -> None:
        self.name, self.revision = name, revision
        self.frames_per_patch = layout.frames_per_patch
        self.num_layers = layout.num_layers
        self.max_positions = layout.max_positions
        self.feature_width = layout.feature_width
        self.similarity_dim = int(model.config.text_config.hidden_size)
        self._model, self._tokenizer, self._layout = model, tokenizer, layout
        self._questions = QuestionTokenizer(tokenizer, video_token=video_token)
        self._text = TextModel(model, tokenizer, rope_axes=rope_axes)
        self._scorer = SharedPrefixScorer(self._text)
        self.device = self._text.device

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """See ``VideoModel``."""
        return self._layout.frame_geometry(height, width, min_pixels=min_pixels, max_pixels=max_pixels)

    def build_question(self, question: str, options: Sequence[str] | None, *, response_tokens: int) -> QuestionPrompt:
        """See ``VideoModel``."""
        return self._questions.build(question, options, response_tokens=response_tokens)

    @torch.inference_mode()
    def launch(
        self, prefix: SharedPrefix, prompts: Sequence[QuestionPrompt], config: ScoringConfig
    ) -> PendingResponses:
        """See ``VideoModel``."""
        return self._scorer.launch(prefix, prompts, config)

    def score(self, prefix: SharedPrefix, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> list[Response]:
        """Launch, and wait for the responses."""
        return self.launch(prefix, prompts, config).read()
