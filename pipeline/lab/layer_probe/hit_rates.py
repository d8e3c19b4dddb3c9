"""How well each layer's attention finds the needle, and which layer is best. Arithmetic only.

Shape suffixes: L = layers, N = visual tokens of a group, Q = questions
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.doctor.hit_shares import hit_shares
from pipeline.evaluation.statistics import clustered_errors

FloatArray = npt.NDArray[np.float64]
_FEWEST_VIDEOS = 2
_TIE = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NeedleReading:
    """One question asked of one group that shows its needle.

    Attributes:
        attention_LN: attention rank of the tokens, layer by layer; NaN for layers that have none.
        shows_N: which tokens show the needle; at least one does.
    """

    video: int
    question: int
    attention_LN: npt.NDArray[np.float32]
    shows_N: npt.NDArray[np.bool_]
    tokens_per_patch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRate:
    """One layer. All values are shares in [0, 1]; errors are one standard error, clustered by video.

    Attributes:
        hit_rate: of the k highest tokens, how many show the needle; k = tokens that do.
        top_rate: how often the highest token shows it.
        patch_rate: of the k highest tokens, how many lie in a temporal patch that shows it anywhere.
        behind: by how much the hit rate is below the chosen layer's, question by question.
    """

    layer: int
    hit_rate: float
    error: float
    top_rate: float
    patch_rate: float
    behind: float
    behind_error: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRates:
    """All layers that can rank tokens, and what they were measured on.

    ``chance`` and ``patch_chance`` are the rates of random scores.
    """

    layers: tuple[LayerRate, ...]
    reference_layer: int
    chance: float
    patch_chance: float
    num_readings: int
    num_questions: int
    num_videos: int


def rate_layers(readings: Sequence[NeedleReading]) -> LayerRates:
    """Rate every layer: the mean over a question's groups, then over questions, so that long needles count no more.

    Raises:
        ValueError: If no group shows a needle, or only one video has some: then there is no error to be told.
    """
    if not readings:
        raise ValueError(
            "no group shows a needle, so there is nothing to find; use more videos or questions, and a "
            "sampling.max_frames that keeps all frames of a video"
        )
    keys = sorted({(reading.video, reading.question) for reading in readings})
    videos_Q = np.array([video for video, _ in keys])
    if len(np.unique(videos_Q)) < _FEWEST_VIDEOS:
        raise ValueError(f"the error is clustered by video: give at least {_FEWEST_VIDEOS} videos, got 1 with needles")
    question_of = {key: number for number, key in enumerate(keys)}
    rows = np.array([question_of[reading.video, reading.question] for reading in readings])

    def by_question(values: Sequence[FloatArray]) -> FloatArray:
        stacked = np.stack(values)
        return np.stack([stacked[rows == number].mean(axis=0) for number in range(len(keys))])

    hits_QL = by_question([_hits(reading) for reading in readings])
    patch_hits_QL = by_question([_patch_hits(reading) for reading in readings])
    tops_QL = by_question([hit_shares(reading.attention_LN, reading.shows_N, top=1) for reading in readings])
    errors_L = clustered_errors(hits_QL, videos_Q.tolist(), is_for_few=True)
    best = choose_layer(hits_QL.mean(axis=0), errors_L)
    behind_QL = hits_QL[:, [best]] - hits_QL
    behind_errors_L = clustered_errors(behind_QL, videos_Q.tolist(), is_for_few=True)
    return LayerRates(
        layers=tuple(
            LayerRate(
                layer=layer,
                hit_rate=float(hits_QL[:, layer].mean()),
                error=float(errors_L[layer]),
                top_rate=float(tops_QL[:, layer].mean()),
                patch_rate=float(patch_hits_QL[:, layer].mean()),
                behind=float(behind_QL[:, layer].mean()),
                behind_error=float(behind_errors_L[layer]),
            )
            for layer in np.flatnonzero(~np.isnan(hits_QL).any(axis=0)).tolist()
        ),
        reference_layer=best,
        chance=float(by_question([reading.shows_N.mean(keepdims=True) for reading in readings]).mean()),
        patch_chance=float(by_question([_in_patch(reading).mean(keepdims=True) for reading in readings]).mean()),
        num_readings=len(readings),
        num_questions=len(keys),
        num_videos=len(np.unique(videos_Q)),
    )


def choose_layer(hit_rate_L: FloatArray, error_L: FloatArray) -> int:
    """The layer with the highest hit rate; in a tie the one with the lower error, then the earlier one."""
    tied = np.flatnonzero(hit_rate_L >= np.nanmax(hit_rate_L) - _TIE)
    surest = tied[error_L[tied] <= error_L[tied].min() + _TIE]
    return int(surest[0])


def _hits(reading: NeedleReading) -> FloatArray:
    return hit_shares(reading.attention_LN, reading.shows_N, top=int(reading.shows_N.sum()))


def _patch_hits(reading: NeedleReading) -> FloatArray:
    return hit_shares(reading.attention_LN, _in_patch(reading), top=int(reading.shows_N.sum()))


def _in_patch(reading: NeedleReading) -> npt.NDArray[np.bool_]:
    shows_PK = reading.shows_N.reshape(-1, reading.tokens_per_patch)
    return np.repeat(shows_PK.any(axis=1), reading.tokens_per_patch)
