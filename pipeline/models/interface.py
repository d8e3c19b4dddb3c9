"""What the engine needs of a model family, and the records that cross that line. One adapter file per family.

Shape suffixes:
- F = sampled frames of one group, H, W = pixels, N = visual tokens of a group, K = kept tokens, D = hidden size
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.settings.config import ScoringConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameGeometry:
    """What one frame size means for a model: frames as decoded, tokens per temporal patch in rows and columns."""

    height: int
    width: int
    token_rows: int
    token_columns: int

    @property
    def tokens_per_patch(self) -> int:
        """Visual tokens of one temporal patch."""
        return self.token_rows * self.token_columns


class ModelLayout(Protocol):
    """What a checkpoint's configuration alone says; enough to plan a video without loading weights.

    One whose family writes the time of a patch's first frame, where others write the mean of its frames, says so by
    ``writes_start_times``; it is then given those as ``center_s_P`` and ``center_s_K``.

    Attributes:
        frames_per_patch: sampled frames that one temporal patch holds.
        num_layers: decoder layers of the language model.
        max_positions: longest sequence the checkpoint was trained for.
        feature_width: numbers of one visual token, with what only travels along.
    """

    @property
    def frames_per_patch(self) -> int: ...  # noqa: D102
    @property
    def num_layers(self) -> int: ...  # noqa: D102
    @property
    def max_positions(self) -> int: ...  # noqa: D102
    @property
    def feature_width(self) -> int: ...  # noqa: D102

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """The size at which frames of a video are shown to the model."""
        ...


@runtime_checkable
class RanksAtSomeLayers(Protocol):
    """What a layout, or a model, says besides where not every decoder layer attends to single tokens.

    Attributes:
        ranking_layers: those that do, ascending.
    """

    @property
    def ranking_layers(self) -> tuple[int, ...]: ...  # noqa: D102


def ranking_layers(model: "ModelLayout | VideoModel") -> tuple[int, ...]:
    """Decoder layers whose attention can rank tokens: all, unless the family says otherwise."""
    return model.ranking_layers if isinstance(model, RanksAtSomeLayers) else tuple(range(model.num_layers))


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionPrompt:
    """One question, ready for the model.

    Attributes:
        suffix_ids: token ids after the visual tokens, up to where the response starts.
        option_ids: first token id of each option's letter; None for an open question.
        max_tokens: longest response of a group pass, end token included.
    """

    suffix_ids: tuple[int, ...]
    option_ids: tuple[int, ...] | None
    max_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Response:
    """What the model said, and how sure it was.

    Attributes:
        text: decoded response without special tokens.
        entropies: nats per response token, full vocabulary; one token for multiple choice.
        option_probabilities: at the first response token, renormalised over the options; None for an open question.
        letter_share: what the options' letters have of that token's whole probability; None for an open question.
        attention_N: float32 on the CPU, one value per visual token.
        option: index of the likeliest option; None for an open question.
    """

    text: str
    entropies: tuple[float, ...]
    option_probabilities: tuple[float, ...] | None
    attention_N: npt.NDArray[np.float32]
    letter_share: float | None = None

    @property
    def option(self) -> int | None:
        """Index of the likeliest option, the lower one in a tie; None for an open question."""
        return None if self.option_probabilities is None else int(np.argmax(self.option_probabilities))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FinalTokens:
    """Kept visual tokens in temporal, row, column order, with what their positions depend on.

    Attributes:
        features_KD: visual tokens after the merger.
        patch_K: temporal patch of the video; ``time_s_K`` its presentation time; ``row_K``, ``column_K`` within it.
        center_s_K: mean presentation time of the patch's frames, which some families write out; None: ``time_s_K``.
        geometry: of the whole frames; None where a family's positions do not depend on it.
        num_patches: of the whole video, for positions that count them; None: up to the last kept one.
    """

    features_KD: Tensor
    patch_K: npt.NDArray[np.int64]
    time_s_K: npt.NDArray[np.float64]
    row_K: npt.NDArray[np.int64]
    column_K: npt.NDArray[np.int64]
    center_s_K: npt.NDArray[np.float64] | None = None
    geometry: FrameGeometry | None = None
    num_patches: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Encoded:
    """Visual tokens of a group in temporal, row, column order, and what a selector's rule wants to know of them.

    Attributes:
        features_ND: after the merger.
        saliency_N: float32, attention received in the last block of the vision tower, mean over heads and queries.
        tower_NC: float32, features before the merger, the mean over a token's patches.
        change_N: float32, how much its part of the picture changed.
    """

    features_ND: Tensor
    saliency_N: Tensor | None = None
    tower_NC: Tensor | None = None
    change_N: Tensor | None = None


BASIC_OFFERS = frozenset({"question"})
RICH_OFFERS = frozenset({"question", "saliency", "tower"})
"""What a family can tell a selector's rule beside features and attention."""


def styled(scoring: ScoringConfig) -> dict[str, str]:
    """The wording, as ``build_question`` takes it, where it is not the usual one."""
    return {} if scoring.prompt_style == "plain" else {"style": scoring.prompt_style}


class LaunchedResponses(Protocol):
    """Responses that may still be computed."""

    def read(self) -> list[Response]:
        """One per question, in their order; waits for them."""
        ...


class VideoModel(Protocol):
    """One loaded checkpoint.

    Attributes:
        device: where its inputs go; ``devices``: all that it lies on, that one first.
        name: checkpoint as given; ``revision``: hub commit, or a hash of a folder's weights.
        frames_per_patch: sampled frames that one temporal patch holds.
        max_positions: longest sequence the checkpoint was trained for.
        feature_width: feature columns of a visual token.
        similarity_dim: leading feature columns that redundancy is judged by; the rest only travels with its token.
        offers: what it can tell a selector's rule; see ``RICH_OFFERS``.
        separators_per_patch: text tokens around each patch that can be ranked with its own.
    """

    device: torch.device
    devices: tuple[torch.device, ...]
    name: str
    revision: str
    frames_per_patch: int
    num_layers: int
    max_positions: int
    feature_width: int
    similarity_dim: int
    offers: ClassVar[frozenset[str]]
    separators_per_patch: ClassVar[int]

    @property
    def ways(self) -> Mapping[str, str]:
        """How it computes on its devices, in words."""
        ...

    def frame_geometry(self, height: int, width: int, *, min_pixels: int, max_pixels: int) -> FrameGeometry:
        """The size at which frames of a video are shown to the model."""
        ...

    def build_question(
        self, question: str, options: Sequence[str] | None, *, response_tokens: int, style: str = "plain"
    ) -> QuestionPrompt:
        """Tokenise one question, multiple choice in the wording of a ``prompt_styles`` style."""
        ...

    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """Frames of whole temporal patches -> ``(N, D)`` visual tokens; the same for every question.

        Runs ``batch_patches`` temporal patches at a time. On a GPU this, ``prefill`` and ``launch`` only queue work.
        """
        ...

    def encode_richly(
        self,
        frames_FHW3: Tensor | npt.NDArray[np.uint8],
        geometry: FrameGeometry,
        *,
        batch_patches: int,
        saliency: bool = False,
        tower: bool = False,
    ) -> Encoded:
        """The same with what else is wanted, where ``offers`` has it."""
        ...

    def embed_question(self, prompt: QuestionPrompt) -> Tensor:
        """``(L, D)`` float32, the language model's input embeddings of all that stands after the video."""
        ...

    def prefill(
        self,
        features_ND: Tensor,
        geometry: FrameGeometry,
        *,
        patch_s: float,
        center_s_P: npt.NDArray[np.float64] | None = None,
        rank_separators: bool = False,
    ) -> Any:
        """Run everything before the question once.

        Args:
            features_ND: visual tokens of the group.
            geometry: of its frames.
            patch_s: seconds between the group's patches as an ordinary clip.
            center_s_P: mean presentation time of each patch's frames, for families that write times out; None means
                those of an ordinary clip from 0 s.
            rank_separators: responses rank the text around each patch with its tokens, where there is such text.
        """
        ...

    def launch(self, prefix: Any, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> LaunchedResponses:
        """Answer each question about one prefilled group, in one batch."""
        ...

    def score(self, prefix: Any, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> list[Response]:
        """``launch``, and wait for the responses."""
        ...

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
        """The final pass over kept tokens of many groups."""
        ...
