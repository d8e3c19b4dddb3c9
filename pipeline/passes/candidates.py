"""The tokens that a scorer still holds: per group the features, per question which of them and how they rank.

Shape suffixes: N = visual tokens of a group, K = tokens of one piece, D = hidden size
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.models.devices.transfer import Download, upload

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CandidatePiece:
    """Tokens one question bought from one group; arrays of numpy, so that they travel without a copy.

    Attributes:
        token_K: within the patch, row-major.
        bits_KD: features as the model computed them; bfloat16, which numpy lacks, as int16 of the same bits.
        members: row of a token that is an average -> ``(M, 2)`` patch and token of all that went into it.
    """

    position: int
    patch_K: IntArray
    token_K: IntArray
    score_K: npt.NDArray[np.float32]
    bits_KD: npt.NDArray[Any]
    is_bfloat16: bool = False
    members: Mapping[int, IntArray] = field(default_factory=dict)

    def features(self) -> Tensor:
        """``(K, D)`` on the host, in the model's type."""
        bits_KD = torch.from_numpy(self.bits_KD if self.bits_KD.flags.writeable else self.bits_KD.copy())
        return bits_KD.view(torch.bfloat16) if self.is_bfloat16 else bits_KD


@dataclass(kw_only=True, slots=True, eq=False)
class GroupCandidates:
    """One group's tokens; shrinks as shares shrink.

    Attributes:
        patches: temporal patches of the group.
        features: rows of the tokens in ``held``.
        held: token numbers within the group, ascending.
        ranked: question -> token numbers, best first.
        scores: question -> score of every token of the group: attention, or by the selector's own rule.
        members: token that is an average -> all that went into it.
    """

    patches: IntArray
    tokens_per_patch: int
    features: Tensor
    held: IntArray
    ranked: dict[int, IntArray]
    scores: dict[int, npt.NDArray[np.float32]]
    members: Mapping[int, IntArray] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        features_ND: Tensor,
        *,
        patches: IntArray,
        tokens_per_patch: int,
        scores: dict[int, npt.NDArray[np.float32]],
        keeps_whole_patches: bool = False,
        members: Mapping[int, IntArray] | None = None,
    ) -> "GroupCandidates":
        """Rank all tokens of a group for each question; ties go to the lower token.

        With ``keeps_whole_patches`` the tokens of a patch follow each other, the patch with the best token first.
        """
        unit = tokens_per_patch if keeps_whole_patches else 1
        ranked = {question: _rank(score_N, unit) for question, score_N in scores.items()}
        return cls(
            patches=patches,
            tokens_per_patch=tokens_per_patch,
            features=features_ND,
            held=np.arange(len(features_ND)),
            ranked=ranked,
            scores=scores,
            members=members or {},
        )

    def retain(self, question: int, limit: int) -> None:
        """Keep only a question's best ``limit`` tokens; features that no question needs go when half of them do."""
        self.ranked[question] = self.ranked[question][:limit]
        needed = np.unique(np.concatenate(list(self.ranked.values())))
        if len(needed) * 2 <= len(self.held):
            rows = np.searchsorted(self.held, needed)
            self.features = self.features[upload(rows, self.features.device)]
            self.held = needed

    def take(
        self, question: int, count: int, *, position: int, by_patch: Sequence[int] | IntArray | None = None
    ) -> CandidatePiece:
        """A question's best ``count`` tokens, or the best so many of each patch, in temporal, row, column order."""
        return self.fetch(question, count, position=position, by_patch=by_patch).read()

    def fetch(
        self, question: int, count: int, *, position: int, by_patch: Sequence[int] | IntArray | None = None
    ) -> "PieceDownload":
        """The same on its way to the host, which does not wait for it yet."""
        ranked = self.ranked[question]
        tokens = np.sort(ranked[:count] if by_patch is None else self._best_of_each(ranked, np.asarray(by_patch)))
        assert len(tokens) == count, "more tokens bought than were retained"
        features_KD = self.features[upload(np.searchsorted(self.held, tokens), self.features.device)]
        is_bfloat16 = features_KD.dtype is torch.bfloat16
        return PieceDownload(
            position=position,
            patch_K=self.patches[tokens // self.tokens_per_patch],
            token_K=tokens % self.tokens_per_patch,
            score_K=self.scores[question][tokens],
            bits=Download(features_KD.view(torch.int16) if is_bfloat16 else features_KD),
            is_bfloat16=is_bfloat16,
            members={row: self._places(self.members[t]) for row, t in enumerate(tokens.tolist()) if t in self.members},
        )

    def _places(self, tokens_M: IntArray) -> IntArray:
        """``(M, 2)`` patch of the video and token within it."""
        return np.stack([self.patches[tokens_M // self.tokens_per_patch], tokens_M % self.tokens_per_patch], axis=1)

    def _best_of_each(self, ranked: IntArray, num_P: IntArray) -> IntArray:
        """The first so many of each patch."""
        patch_N = ranked // self.tokens_per_patch
        return np.concatenate([ranked[patch_N == patch][:num] for patch, num in enumerate(num_P.tolist())])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PieceDownload:
    """A ``CandidatePiece`` whose features are on their way from the device."""

    position: int
    patch_K: IntArray
    token_K: IntArray
    score_K: npt.NDArray[np.float32]
    bits: Download
    is_bfloat16: bool
    members: Mapping[int, IntArray]

    def read(self) -> CandidatePiece:
        """Waits for the features, and for nothing queued later."""
        (bits_KD,) = self.bits.read()
        return CandidatePiece(
            position=self.position,
            patch_K=self.patch_K,
            token_K=self.token_K,
            score_K=self.score_K,
            bits_KD=bits_KD,
            is_bfloat16=self.is_bfloat16,
            members=self.members,
        )


def _rank(score_N: npt.NDArray[np.float32], tokens_per_patch: int) -> IntArray:
    """Tokens best first; those of one patch stay together: ``[1 5 2 9], 2 per patch -> [3 2 1 0]``."""
    best_first = np.argsort(-score_N, kind="stable")
    if tokens_per_patch == 1:
        return best_first
    best_N = np.repeat(score_N.reshape(-1, tokens_per_patch).max(axis=1), tokens_per_patch)
    patch_N = np.arange(len(score_N)) // tokens_per_patch
    return np.lexsort((-score_N, patch_N, -best_N))
