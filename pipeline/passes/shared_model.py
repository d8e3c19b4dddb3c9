"""A model that computes nothing twice about one video, so that methods are compared over one encode and one scoring.

Every method sees what it would have seen alone; what that would have cost is counted beside what was spent.
Shape suffixes: N = visual tokens of a group, E = feature columns
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.devices.map import usable_bytes
from pipeline.models.devices.memory import free_bytes
from pipeline.models.interface import (
    Encoded,
    FinalTokens,
    FrameGeometry,
    LaunchedResponses,
    QuestionPrompt,
    Response,
    VideoModel,
)
from pipeline.settings.config import ScoringConfig


@dataclass(kw_only=True, slots=True)
class SharedSeconds:
    """Seconds of shared work: what the method in hand would have spent alone, and what was spent in fact."""

    alone_s: float = 0.0
    shared_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Patch:
    """Rows of one temporal patch, and their part of the seconds."""

    encoded: Encoded
    seconds: float


@dataclass(kw_only=True, slots=True, eq=False)
class _LazyPrefix:
    """Prefilled when a question has not been asked of this group before."""

    key: tuple[object, ...]
    make: Any
    made: Any = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Known:
    """Responses that are there."""

    responses: list[Response]

    def read(self) -> list[Response]:
        """See ``LaunchedResponses``."""
        return self.responses


@dataclass(kw_only=True, slots=True, eq=False)
class SharedModel:
    """Stands for a ``VideoModel`` while several methods look at one video; one call at a time.

    Attributes:
        model: that computes.
        saliency: some method wants it, ``tower`` likewise: all are then encoded with it.
        num_patches: that will be encoded in the end, all of which are held; 0: not known.
        patches: of the group whose frames come next; set before each.
        spent: since it was last replaced.
    """

    model: VideoModel
    saliency: bool = False
    tower: bool = False
    num_patches: int = 0
    patches: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    spent: SharedSeconds = field(default_factory=SharedSeconds)
    _encoded: dict[int, _Patch] = field(default_factory=dict)
    _groups: dict[bytes, Encoded] = field(default_factory=dict)
    _made: dict[tuple[object, ...], tuple[Any, float]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        """All else is the model's own."""
        return getattr(self.model, name)

    def encode(
        self, frames_FHW3: Tensor | npt.NDArray[np.uint8], geometry: FrameGeometry, *, batch_patches: int
    ) -> Tensor:
        """See ``VideoModel``."""
        return self.encode_richly(frames_FHW3, geometry, batch_patches=batch_patches).features_ND

    def encode_richly(
        self,
        frames_FHW3: Tensor | npt.NDArray[np.uint8],
        geometry: FrameGeometry,
        *,
        batch_patches: int,
        saliency: bool = False,
        tower: bool = False,
    ) -> Encoded:
        """See ``VideoModel``; patches that were encoded before are not encoded again.

        Raises:
            PipelineError: ``OUT_OF_MEMORY`` where those that are still to come will not fit.
        """
        patches: list[int] = self.patches.tolist()
        new = [row for row, patch in enumerate(patches) if patch not in self._encoded]
        if new:
            started, per_patch = time.perf_counter(), self.model.frames_per_patch
            slots = [row * per_patch + frame for row in new for frame in range(per_patch)]
            found = self._encode(torch.as_tensor(frames_FHW3)[slots], geometry, batch_patches=batch_patches)
            seconds = (time.perf_counter() - started) / len(new)
            self.spent.shared_s += seconds * len(new)
            is_first = not self._encoded
            for place, row in enumerate(new):
                rows = slice(place * geometry.tokens_per_patch, (place + 1) * geometry.tokens_per_patch)
                self._encoded[patches[row]] = _Patch(encoded=_cut(found, rows), seconds=seconds)
            if is_first:
                to_come = 2 * max(0, self.num_patches - len(new))  # the method in hand holds them as candidates, too
                check_room("visual tokens", _bytes_of(found) * to_come // len(new), device=str(self.model.device))
            if len(new) == len(patches):  # patches are views of it
                self._groups[self.patches.tobytes()] = found
        parts = [self._encoded[patch] for patch in patches]
        self.spent.alone_s += sum(part.seconds for part in parts)
        return self._groups.get(self.patches.tobytes()) or _join([part.encoded for part in parts])

    def _encode(self, frames: Tensor, geometry: FrameGeometry, *, batch_patches: int) -> Encoded:
        if self.saliency or self.tower:
            return self.model.encode_richly(
                frames, geometry, batch_patches=batch_patches, saliency=self.saliency, tower=self.tower
            )
        return Encoded(features_ND=self.model.encode(frames, geometry, batch_patches=batch_patches))

    def prefill(self, features_ND: Tensor, geometry: FrameGeometry, **arguments: Any) -> Any:
        """See ``VideoModel``; waits for a question that has not been asked."""
        settings = (arguments.get("patch_s"), bool(arguments.get("rank_separators")))
        return _LazyPrefix(
            key=(self.patches.tobytes(), *settings),
            make=lambda: self.model.prefill(features_ND, geometry, **arguments),
        )

    def launch(self, prefix: Any, prompts: Sequence[QuestionPrompt], config: ScoringConfig) -> LaunchedResponses:
        """See ``VideoModel``; what was asked before is not asked again."""

        def ask() -> list[Response]:
            if prefix.made is None:
                prefix.made = prefix.make()
            return self.model.launch(prefix.made, prompts, config).read()

        return _Known(responses=self.once(("launch", *prefix.key, tuple(prompts), config), ask))

    def build_question(self, question: str, options: Sequence[str] | None, **arguments: Any) -> QuestionPrompt:
        """See ``VideoModel``."""
        key = "question", question, None if options is None else tuple(options), *sorted(arguments.items())
        made: QuestionPrompt = self.once(key, lambda: self.model.build_question(question, options, **arguments))
        return made

    def embed_question(self, prompt: QuestionPrompt) -> Tensor:
        """See ``VideoModel``."""
        made: Tensor = self.once(("embed", prompt), lambda: self.model.embed_question(prompt))
        return made

    def answer(self, tokens: FinalTokens, prompt: QuestionPrompt, **arguments: Any) -> Response:
        """See ``VideoModel``; where two methods kept the same tokens, they get the same answer."""
        key = "answer", _digest(tokens), prompt, *sorted(arguments.items())
        made: Response = self.once(key, lambda: self.model.answer(tokens, prompt, **arguments))
        return made

    def once(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """What was made before is not made again; whose turn it is pays for it as if it had been."""
        if key not in self._made:
            started = time.perf_counter()
            made = make()
            seconds = time.perf_counter() - started
            self.spent.shared_s += seconds
            self._made[key] = made, seconds
        made, seconds = self._made[key]
        self.spent.alone_s += seconds
        return made


def _digest(tokens: FinalTokens) -> bytes:
    """Of everything that a final pass depends on, bit by bit."""
    features_KD = tokens.features_KD.detach().contiguous().cpu().view(torch.uint8)
    found = hashlib.blake2b(features_KD.numpy().data)
    found.update(repr((tokens.features_KD.dtype, features_KD.shape, tokens.geometry, tokens.num_patches)).encode())
    for values in (tokens.patch_K, tokens.time_s_K, tokens.row_K, tokens.column_K, tokens.center_s_K):
        found.update(b"none" if values is None else np.ascontiguousarray(values).data)
    return found.digest()


def check_room(what: str, num_bytes: int, *, device: str) -> None:
    """Refuse what will not fit beside all else, before the machine ends the process.

    Raises:
        PipelineError: Class ``out_of_memory``.
    """
    free = free_bytes(device)
    if free is not None and num_bytes > usable_bytes(free):
        raise PipelineError(
            FailureClass.OUT_OF_MEMORY,
            f"{what} of the whole video need {num_bytes / 1024**3:.1f} GiB on {device}, {free / 1024**3:.1f} GiB are "
            "free, and a comparison holds them all; lower sampling.max_frames or sampling.max_pixels, or free memory",
        )


def _bytes_of(encoded: Encoded) -> int:
    parts = (encoded.features_ND, encoded.saliency_N, encoded.tower_NC)
    return sum(part.numel() * part.element_size() for part in parts if part is not None)


def _cut(encoded: Encoded, rows: slice) -> Encoded:
    return Encoded(
        features_ND=encoded.features_ND[rows],
        saliency_N=None if encoded.saliency_N is None else encoded.saliency_N[rows],
        tower_NC=None if encoded.tower_NC is None else encoded.tower_NC[rows],
    )


def _join(parts: Sequence[Encoded]) -> Encoded:
    def joined(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat(values)

    features_ND = joined("features_ND")
    assert features_ND is not None
    return Encoded(features_ND=features_ND, saliency_N=joined("saliency_N"), tower_NC=joined("tower_NC"))
