"""Which moments of a video the report shows for an answer: the patches that its attention went to, and their tokens.

Shape suffixes: P = temporal patches with kept tokens, in time; K = kept tokens, in temporal, row, column order
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidencePatch:
    """One temporal patch that is shown; ``tokens`` are (row, column, share of attention)."""

    start_s: float
    weight: float
    tokens: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvidencePatches:
    """All temporal patches of one answer.

    Attributes:
        weight_P: sum of the tokens' shares.
        entropy_P: of the group that sold them, nats; NaN where the method scores no groups.
        first_K: ``(P + 1,)`` where each patch's tokens begin.
        row_K: with ``column_K`` and ``share_K``; empty where tokens are not on record.
    """

    start_s_P: Floats
    end_s_P: Floats
    weight_P: Floats
    entropy_P: Floats
    first_K: Ints
    row_K: Ints
    column_K: Ints
    share_K: Floats

    def __len__(self) -> int:
        return len(self.start_s_P)

    @property
    def token_counts(self) -> Ints:
        """Tokens of each patch."""
        return np.diff(self.first_K)

    def at(self, patch: int) -> EvidencePatch:
        """One of them, to be shown."""
        own = slice(int(self.first_K[patch]), int(self.first_K[patch + 1]))
        tokens = zip(self.row_K[own].tolist(), self.column_K[own].tolist(), self.share_K[own].tolist(), strict=True)
        return EvidencePatch(
            start_s=float(self.start_s_P[patch]), weight=float(self.weight_P[patch]), tokens=tuple(tokens)
        )


def read_patches(row: Mapping[str, Any], tokens: pa.StructArray | None) -> EvidencePatches:
    """Temporal patches with kept tokens; of rows from before tokens were on record, the evidence spans.

    A patch ends where the next one starts, but not after its evidence span.

    Args:
        row: of the view ``answers``; ``evidence`` and ``groups`` are read.
        tokens: its ``kept_tokens``.
    """
    spans = sorted(row["evidence"] or (), key=lambda span: float(span["start_s"]))
    span_starts = np.array([span["start_s"] for span in spans], np.float64)
    span_ends = np.array([span["end_s"] for span in spans], np.float64)
    if tokens is None or not len(tokens):
        return _spans_as_patches(span_starts, span_ends, np.array([span["weight"] for span in spans], np.float64))
    columns = {name: tokens.field(name).to_numpy(zero_copy_only=False) for name in ("start_s", "group_index", "weight")}
    starts, first = np.unique(columns["start_s"], return_index=True)
    ends = np.append(starts[1:], np.inf)
    if len(spans):
        span = np.maximum(np.searchsorted(span_starts, starts, side="right") - 1, 0)
        ends = np.minimum(ends, np.maximum(span_ends[span], starts))
    entropies = {group["group_index"]: group["entropy"] for group in row["groups"] or ()}
    sold_by = columns["group_index"][first].tolist()
    shares = columns["weight"].astype(np.float64)
    return EvidencePatches(
        start_s_P=starts,
        end_s_P=ends,
        weight_P=np.add.reduceat(shares, first),
        entropy_P=np.array([entropies.get(index, np.nan) for index in sold_by], np.float64),
        first_K=np.append(first, len(shares)).astype(np.int64),
        row_K=tokens.field("token_row").to_numpy(zero_copy_only=False).astype(np.int64),
        column_K=tokens.field("token_column").to_numpy(zero_copy_only=False).astype(np.int64),
        share_K=shares,
    )


def choose_frames(patches: EvidencePatches, spans: Sequence[Mapping[str, Any]], *, limit: int) -> list[int]:
    """Positions of the patches to show, by time: the heaviest of each of the heaviest spans, then the heaviest left.

    Args:
        patches: from `read_patches`.
        spans: the row's ``evidence``, heaviest first.
        limit: at most so many.
    """
    by_weight = np.argsort(-patches.weight_P, kind="stable")
    chosen: list[int] = []
    for span in spans[:limit]:
        starts = patches.start_s_P[by_weight]
        chosen += by_weight[(starts >= span["start_s"]) & (starts < span["end_s"])][:1].tolist()
    left = [index for index in by_weight.tolist() if index not in chosen]
    return sorted(chosen + left[: limit - len(chosen)])


def _spans_as_patches(starts: Floats, ends: Floats, weights: Floats) -> EvidencePatches:
    return EvidencePatches(
        start_s_P=starts,
        end_s_P=ends,
        weight_P=weights,
        entropy_P=np.full(len(starts), np.nan),
        first_K=np.zeros(len(starts) + 1, np.int64),
        row_K=np.zeros(0, np.int64),
        column_K=np.zeros(0, np.int64),
        share_K=np.zeros(0),
    )
