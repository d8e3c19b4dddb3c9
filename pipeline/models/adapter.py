"""What all families' adapters share: one row of text and visual tokens, run as a prefix or as a final pass.

A family's own file adds ``encode``, how it lays out a clip and kept tokens, and what else its language model takes.

Shape suffixes:
- F = frames, N = visual tokens of a group or of a final pass, T = tokens of a row, D = hidden size
- E = columns of a visual token, of which the first D stand in the row
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.devices.transfer import upload
from pipeline.models.fast_paths import STOCK_PATHS, FastPaths, choose_fast_paths
from pipeline.models.final_pass import run_final_pass
from pipeline.models.interface import (
    BASIC_OFFERS,
    Encoded,
    FinalTokens,
    FrameGeometry,
    LaunchedResponses,
    ModelLayout,
    QuestionPrompt,
    Response,
    ranking_layers,
)
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.models.shared_prefix import PrefixScorer, SharedPrefixScorer
from pipeline.models.text_model import TextModel
from pipeline.models.video_sequence import IntArray, VideoSequence
from pipeline.models.ways import describe_ways
from pipeline.settings.config import ScoringConfig

_Layout = TypeVar("_Layout", bound=ModelLayout)


class Adapter(ABC, Generic[_Layout]):
    """One loaded checkpoint. One call at a time.

    Args:
        model: stock transformers class of the family.
        tokenizer: of the checkpoint.
        layout: what its configuration says.
        name: checkpoint as given.
        revision: as recorded in rows.
        video_token: where the chat template puts a video.
        rope_axes: leading axis of the text model's ``position_ids``; 1 for plain positions.
        answer_marks: what the model writes before and after an answer, which is no part of it.

    Attributes:
        separators_per_patch: text tokens around each patch that can be ranked with its own, half before and half after.
    """

    offers: ClassVar[frozenset[str]] = BASIC_OFFERS
    separators_per_patch: ClassVar[int] = 0

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        layout: _Layout,
        *,
        name: str,
        revision: str,
        video_token: str,
        rope_axes: int,
        answer_marks: tuple[str, str] = ("", ""),
    ) -> None:
        self.name, self.revision = name, revision
        self.frames_per_patch = layout.frames_per_patch
        self.num_layers = layout.num_layers
        self.max_positions = layout.max_positions
        self.feature_width = layout.feature_width
        self.similarity_dim = int(model.config.text_config.hidden_size)
        self._model, self._tokenizer, self._layout = model, tokenizer, layout
        self._questions = QuestionTokenizer(tokenizer, video_token=video_token, letter_mark=answer_marks[0])
        self._text = TextModel(model, tokenizer, rope_axes=rope_axes, answer_marks=answer_marks)
        self.use(STOCK_PATHS)
        self.device = self._text.device
        others = {parameter.device for parameter in model.parameters()} - {self.device}
        self.devices = (self.device, *sorted(others, key=str))

    def use(self, paths: FastPaths) -> None:
        """Attend and generate in these ways from now on."""
        self._paths, self._scorer = paths, self._make_scorer(self._text, paths)

    def use_fast_paths(self, *, is_wanted: bool = True) -> None:
        """The fast ways that are as exact on this model's devices as the usual ones; see ``fast_paths``."""
        self.use(choose_fast_paths(self._text, self.devices, is_wanted=is_wanted))

    @property
    def ways(self) -> dict[str, str]:
        """See ``VideoModel``."""
        return describe_ways(self._model, self._paths, self.devices)

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """See ``VideoModel``."""
        return self._layout.frame_geometry(height, width, min_pixels=min_pixels, max_pixels=max_pixels)

    def build_question(
        self, question: str, options: Sequence[str] | None, *, response_tokens: int, style: str = "plain"
    ) -> QuestionPrompt:
        """See ``VideoModel``."""
        return self._questions.build(question, options, response_tokens=response_tokens, style=style)

    @abstractmethod
    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel``; ``(N, E)``."""

    def encode_richly(
        self,
        frames_FHW3: Tensor | npt.NDArray[np.uint8],
        geometry: FrameGeometry,
        *,
        batch_patches: int,
        saliency: bool = False,
        tower: bool = False,
    ) -> Encoded:
        """See ``VideoModel``; a family that offers more has its own.

        Raises:
            ValueError: More is wanted than it offers.
        """
        if saliency or tower:
            raise ValueError(f"{type(self).__name__} tells nothing of its vision tower; use a method that needs less")
        return Encoded(features_ND=self.encode(frames_FHW3, geometry, batch_patches=batch_patches))

    @torch.inference_mode()
    def embed_question(self, prompt: QuestionPrompt) -> Tensor:
        """See ``VideoModel``."""
        return self._text.embed(upload(np.asarray(prompt.suffix_ids, dtype=np.int64), self.device)).float()

    @torch.inference_mode()
    def prefill(
        self,
        features_ND: Tensor,
        geometry: FrameGeometry,
        *,
        patch_s: float,
        center_s_P: npt.NDArray[np.float64] | None = None,
        rank_separators: bool = False,
    ) -> Any:
        """See ``VideoModel``."""
        num_patches = len(features_ND) // geometry.tokens_per_patch
        sequence = self._lay_out_clip(num_patches, geometry, patch_s=patch_s, center_s_P=center_s_P)
        visual, cache = self._places(sequence), self._text.new_cache()
        embeddings_TD, extra = self._embed(sequence, visual, features_ND, ())
        self._text.run(embeddings_TD, upload(sequence.positions, self.device), cache=cache, **extra)
        if rank_separators:
            visual = upload(self._with_separators(sequence), self.device)
        return self._scorer.keep(cache, visual=visual, length=len(sequence.ids_T), next_position=sequence.next_position)

    @torch.inference_mode()
    def launch(self, prefix: Any, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> LaunchedResponses:
        """See ``VideoModel``."""
        return self._scorer.launch(prefix, prompts, config)

    def score(self, prefix: Any, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> list[Response]:
        """Launch, and wait for the responses."""
        return self.launch(prefix, prompts, config).read()

    @torch.inference_mode()
    def answer(
        self,
        tokens: FinalTokens,
        prompt: QuestionPrompt,
        *,
        positions: str,
        patch_s: float,
        max_tokens: int,
        config: ScoringConfig,
    ) -> Response:
        """See ``VideoModel``."""
        sequence = self._lay_out_kept(tokens, positions=positions, patch_s=patch_s)
        visual, num_suffix = self._places(sequence), len(prompt.suffix_ids)
        embeddings_TD, extra = self._embed(sequence, visual, tokens.features_KD, prompt.suffix_ids)
        return run_final_pass(
            self._text,
            embeddings_TD,
            upload(sequence.positions_with(num_suffix), self.device),
            replace(prompt, max_tokens=max_tokens),
            config,
            visual=visual,
            next_position=sequence.next_position + num_suffix,
            paths=self._paths,
            **extra,
        )

    @property
    def ranking_layers(self) -> tuple[int, ...]:
        """Decoder layers whose attention can rank tokens."""
        return ranking_layers(self._layout)

    @property
    def stock(self) -> Any:
        """The stock transformers model; ``layout`` is what its configuration says."""
        return self._model

    @property
    def layout(self) -> _Layout:
        """See ``stock``."""
        return self._layout

    def show_clip(
        self, num_patches: int, geometry: FrameGeometry, *, patch_s: float, center_s_P: npt.NDArray[np.float64] | None
    ) -> VideoSequence:
        """A group as ``prefill`` shows it, for whoever compares."""
        return self._lay_out_clip(num_patches, geometry, patch_s=patch_s, center_s_P=center_s_P)

    def show_kept(self, tokens: FinalTokens, *, positions: str, patch_s: float) -> VideoSequence:
        """Kept tokens as ``answer`` shows them."""
        return self._lay_out_kept(tokens, positions=positions, patch_s=patch_s)

    def inputs_besides(self, sequence: VideoSequence, features_NE: Tensor, length: int) -> Mapping[str, Any]:
        """What the language model takes besides embeddings and positions."""
        return self._inputs_besides(sequence, features_NE, length)

    def fill_in(self, sequence: VideoSequence, embeddings_TD: Tensor) -> None:
        """Write, into a row of embeddings, what a family puts beside a video that no token id stands for."""
        return None

    @abstractmethod
    def _lay_out_clip(
        self, num_patches: int, geometry: FrameGeometry, *, patch_s: float, center_s_P: npt.NDArray[np.float64] | None
    ) -> VideoSequence:
        """A group as an ordinary clip; arguments as in ``prefill``."""

    @abstractmethod
    def _lay_out_kept(self, tokens: FinalTokens, *, positions: str, patch_s: float) -> VideoSequence:
        """Kept tokens of many groups; arguments as in ``answer``.

        Raises:
            ValueError: If ``positions`` is not one of its values.
        """

    def _with_separators(self, sequence: VideoSequence) -> IntArray:
        """Places of the visual tokens and of the text next to them that counts as theirs, ascending."""
        raise ValueError("this family has no separators that could be ranked")

    def _make_scorer(self, text: TextModel, paths: FastPaths) -> PrefixScorer:
        """How questions start from a prefix; by default all in one row over its keys and values."""
        return SharedPrefixScorer(text, paths)

    def _inputs_besides(self, sequence: VideoSequence, features_NE: Tensor, length: int) -> Mapping[str, Any]:
        """What the family's language model takes besides the embeddings and positions of a row of ``length`` tokens."""
        return {}

    def _places(self, sequence: VideoSequence) -> slice | Tensor:
        visual = sequence.visual
        return visual if isinstance(visual, slice) else upload(visual, self.device)

    def _embed(
        self, sequence: VideoSequence, visual: slice | Tensor, features_NE: Tensor, suffix: Sequence[int]
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """Embeddings ``(T, D)`` of video and suffix, and what the language model takes besides."""
        embeddings_TD = self._text.embed(upload(sequence.ids_with(suffix), self.device))
        features_NE = features_NE.to(device=self.device, dtype=self._text.dtype)
        embeddings_TD[visual] = features_NE[:, : self.similarity_dim]
        self.fill_in(sequence, embeddings_TD)
        return embeddings_TD, self._inputs_besides(sequence, features_NE, len(embeddings_TD))
