"""Scores answers about a demo archive, whose manifest knows the truth: accuracy, work, evidence, entropy by group.

Shape suffixes: G = groups of one video, N = question-groups of a run
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.statistics import clustered_error, measure_auroc
from pipeline.method.grouping import plan_groups
from pipeline.method.stopping import normalize_response
from pipeline.results.tables import pipe_rows

Row = Mapping[str, Any]

_HEADER = (
    *("method", "questions", "accuracy", "groups scored", "tokens in final pass", "top evidence on needle"),
    *("evidence covers at most", "model seconds per question"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodScore:
    """One line of the scoreboard. Shares are in [0, 1]; ``groups_share`` is of the groups planned."""

    method: str
    num_questions: int
    num_failed: int
    accuracy: float
    standard_error: float
    groups_share: float
    tokens_kept: float
    evidence_hit_share: float
    evidence_cover_share: float
    model_s: float


def score_method(method: str, rows: Sequence[Row]) -> MethodScore:
    """Score one method's rows; a failed row counts as a wrong answer.

    The standard error is clustered by video: questions about one video are not independent.
    """
    if not rows:
        raise ValueError(f"there are no rows of method {method!r}; run it first")
    right = np.array([is_right(row) for row in rows], dtype=np.float64)
    ok = [row for row in rows if row["status"] == "ok"]
    planned = sum(row["num_groups"] for row in ok if row["groups"]) or 1
    return MethodScore(
        method=method,
        num_questions=len(rows),
        num_failed=len(rows) - len(ok),
        accuracy=float(right.mean()),
        standard_error=clustered_error(right, [row["video"] for row in rows]) or 0.0,
        groups_share=sum(row["num_groups_scored"] for row in ok) / planned,
        tokens_kept=float(np.mean([row["num_tokens_kept"] for row in ok])) if ok else 0.0,
        evidence_hit_share=float(np.mean([hits_needle(row) for row in rows])),
        evidence_cover_share=max((covered_share(row) for row in ok), default=0.0),
        model_s=sum(row["encode_s"] + row["prefill_s"] + row["score_s"] + row["answer_s"] for row in ok),
    )


def is_right(row: Row) -> bool:
    """Multiple choice: the letter. Open: the expected word is the one colour word of the answer."""
    if row["status"] != "ok":
        return False
    if row["options"]:
        return bool(row["answer"] == row["expected"])
    return row["expected"] in normalize_response(row["answer"]).split()


def hits_needle(row: Row) -> bool:
    """Whether the span with most weight overlaps the time the needle was visible."""
    if row["status"] != "ok" or not row["evidence"]:
        return False
    top = row["evidence"][0]
    return bool(top["start_s"] < row["needle_end_s"] and row["needle_start_s"] < top["end_s"])


def covered_share(row: Row) -> float:
    """Share of the video that all evidence spans of an answer cover together."""
    return float(sum(span["end_s"] - span["start_s"] for span in row["evidence"]) / row["duration_s"])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroupEntropies:
    """Response entropies in nats of all scored groups, by whether the asked object is on any of their frames."""

    with_needle: npt.NDArray[np.float64]
    without_needle: npt.NDArray[np.float64]

    @property
    def auroc(self) -> float:
        """Probability that a group with the needle is more certain than one without; ties count half."""
        auroc = measure_auroc(self.with_needle, self.without_needle)
        assert auroc is not None, "groups of both kinds are needed"
        return auroc

    def false_certainty(self, threshold: float) -> float:
        """Share of groups without the needle whose entropy is below ``threshold`` nats."""
        return float((self.without_needle < threshold).mean())


def split_entropies(
    rows: Sequence[Row], *, sample_fps: float, frames_per_patch: int, choices_only: bool = True
) -> GroupEntropies:
    """Part the groups of ``adapttoken`` rows by the manifest's needle times."""
    with_needle: list[float] = []
    without: list[float] = []
    for row in rows:
        if row["status"] != "ok" or (choices_only and not row["options"]):
            continue
        shows_G = groups_with_needle(row, sample_fps=sample_fps, frames_per_patch=frames_per_patch)
        for group in row["groups"]:
            (with_needle if shows_G[group["group_index"]] else without).append(group["entropy"])
    return GroupEntropies(with_needle=np.array(with_needle), without_needle=np.array(without))


def groups_with_needle(row: Row, *, sample_fps: float, frames_per_patch: int) -> npt.NDArray[np.bool_]:
    """``(G,)`` whether any sampled frame of the group shows the needle, for interleaved groups of an archive video."""
    num_patches = -(-row["num_sampled_frames"] // frames_per_patch)
    first = round(row["needle_start_s"] * sample_fps)
    last = round(row["needle_end_s"] * sample_fps) - 1
    patches = np.arange(first // frames_per_patch, last // frames_per_patch + 1)
    groups = plan_groups(num_patches, num_groups=row["num_groups"], grouping="interleaved")
    return np.array([bool(np.isin(group, patches).any()) for group in groups])


def format_scoreboard(scores: Sequence[MethodScore]) -> str:
    """A Markdown table."""
    return "\n".join(pipe_rows([_cells(score) for score in scores], header=_HEADER))


def _cells(score: MethodScore) -> tuple[object, ...]:
    return (
        score.method,
        score.num_questions,
        f"{score.accuracy:.1%} ± {score.standard_error:.1%}",
        f"{score.groups_share:.1%}" if score.groups_share else "none",
        f"{score.tokens_kept:.0f}",
        f"{score.evidence_hit_share:.1%}",
        f"{score.evidence_cover_share:.1%}",
        f"{score.model_s / max(1, score.num_questions):.2f}",
    )
