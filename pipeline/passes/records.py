"""What a group's pass and a final pass need beside tensors, and what a final pass yields. No scheduling here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.manifest.questions import Question
from pipeline.method.evidence import EvidenceSpan
from pipeline.models.interface import FrameGeometry


class GroupInput(NamedTuple):
    """What a group's pass needs beside its frames; a named tuple, because thousands of them travel.

    Attributes:
        group_index: the group's number in time.
        patches: temporal patches of the group, ascending.
        questions: all of the video.
        batches: micro-batches of question indices in manifest order; empty where only encoding is wanted.
        patch_centers_s: mean presentation time of each patch's frames, in the order of ``patches``.
        rung: of the memory ladder: how often batches are halved after the device's memory did not suffice.
        only: questions that are really asked; the others keep their place in the batch, so that shapes and bits stay.
            None asks all.
        question_tokens: length of every question of ``questions`` as planned, which those not asked keep; empty: 1.
        num_groups: of the video's plan; ``num_patches``: of all of them.
    """

    group_index: int
    geometry: FrameGeometry
    patches: npt.NDArray[np.int64]
    questions: tuple[Question, ...]
    batches: tuple[tuple[int, ...], ...]
    patch_centers_s: npt.NDArray[np.float64] | None = None
    rung: int = 0
    only: tuple[int, ...] | None = None
    question_tokens: tuple[int, ...] = ()
    num_groups: int = 1
    num_patches: int = 0

    @property
    def asked(self) -> list[int]:
        """Questions that are really asked."""
        return [index for batch in self.batches for index in batch if self.only is None or index in self.only]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FinalInput:
    """What a question's final pass needs beside its tokens.

    Attributes:
        final_budget: tokens that remain after removal; None keeps all.
        patch_times_s: start of every temporal patch of the video.
        duration_s: end of the video, or of the part of it that is asked about.
        patch_centers_s: mean presentation time of every patch's frames; None means their start.
        rung: from 1 on redundancy is removed on the host, because the device's memory did not suffice.
    """

    question: Question
    final_budget: int | None
    geometry: FrameGeometry
    patch_times_s: npt.NDArray[np.float64]
    duration_s: float
    patch_centers_s: npt.NDArray[np.float64] | None = None
    rung: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalAnswer:
    """What the final pass yields.

    Attributes:
        tokens: its tokens and their shares of the attention, packed; see ``token_record``.
        kept: tokens in it by group position.
        letter_share: what the options' letters have of the first token's probability; None where it is not known.
    """

    answer: str
    answer_text: str
    option_probabilities: tuple[float, ...] | None
    answer_entropy: float
    evidence: tuple[EvidenceSpan, ...]
    tokens: bytes
    kept: Mapping[int, int]
    letter_share: float | None = None
