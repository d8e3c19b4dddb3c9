"""What the page says about one question, as JSON: a line of the list, and the details that are drawn when it is opened.

Everything comes from the row; numbers keep six digits. Long lists are bounded, and say what they leave out.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from pipeline.evaluation.scoring.judging import judge_row
from pipeline.manifest.questions import option_letter
from pipeline.report.evidence_frames import EvidencePatch, EvidencePatches
from pipeline.results.schema import ANSWERS_SCHEMA
from pipeline.results.summary import DEVICE_STAGES, STAGES

Json = dict[str, Any]

MAX_SPANS = 200
MAX_PATCHES = 400
_FACTS = (
    *("video", "video_fingerprint", "run_id", "finished_at", "method", "model", "model_revision", "config_hash"),
    *("decoder", "sandbox", "num_sampled_frames", "attempts", "memory_rung", "num_groups_wasted"),
    *("video_num_frames_decoded", "video_num_decode_passes", "video_num_groups_encoded"),
)


def list_entry(row: Mapping[str, Any]) -> Json:
    """What the list shows, sorts, filters and searches by."""
    expected, probabilities = row.get("expected"), row["option_probabilities"]
    return {
        "key": row["question_key"],
        "id": row["question_id"],
        "question": row["question"] or "(no question)",
        "video": row["video"] or "(no video)",
        "status": row["status"],
        "answer": shown_answer(row),
        "expected": None if expected is None else str(expected),
        "is_right": judge_row(row),
        "probability": _short(max(probabilities)) if probabilities else None,
        "entropy": _short(row["answer_entropy"]),
        "total_s": _short(row["total_s"]),
        "num_scored": row["num_groups_scored"],
        "num_groups": row["num_groups"],
        "stop_reason": row["stop_reason"],
        "method": row["method"],
        "error_class": row["error_class"],
    }


def detail(row: Mapping[str, Any], patches: EvidencePatches, *, stop_entropy: float | None) -> Json:
    """What is drawn when a question is opened; ``frames`` and ``video_url`` come later.

    Args:
        row: of the view ``answers``.
        patches: of the row.
        stop_entropy: nats below which a group counts as sure, where the method stops early and its settings are known.
    """
    spans = row["evidence"] or []
    kept = spans[:MAX_SPANS]
    return {
        "options": row["options"],
        "probabilities": _short(row["option_probabilities"]),
        "answer": row["answer"],
        "answer_text": row["answer_text"],
        "error_message": row["error_message"],
        "warnings": row["warnings"] or [],
        "duration_s": row["duration_s"],
        "spans": [[*_short([s["start_s"], s["end_s"], s["weight"]]), s["num_tokens"]] for s in kept],
        "num_more_spans": len(spans) - len(kept),
        "patches": _bin_patches(patches) if len(patches.share_K) else [],
        "groups": _groups(row),
        "stop_entropy": stop_entropy,
        "num_tokens_offered": row["num_tokens_offered"],
        "num_tokens_kept": row["num_tokens_kept"],
        "grid": [row["num_token_rows"], row["num_token_columns"]],
        "stages": {stage: _short(row[stage]) for stage in STAGES},
        "gpu_s": _short(sum(row[stage] for stage in DEVICE_STAGES)),
        "facts": [[name, _to_text(row[name])] for name in _FACTS],
        "manifest": [[name, _to_text(value)] for name, value in row.items() if name not in ANSWERS_SCHEMA.names],
    }


def frame(patch: EvidencePatch, image: str | None, reason: str | None) -> Json:
    """One moment of evidence: a data URI, or why there is none; the tokens as row, column, share."""
    return {
        "start_s": patch.start_s,
        "weight": _short(patch.weight),
        "tokens": [[row, column, _short(share)] for row, column, share in patch.tokens],
        "image": image,
        "reason": reason,
    }


def shown_answer(row: Mapping[str, Any]) -> str | None:
    """``B. red`` for a choice, the text for an open question."""
    answer, options = row["answer"], row["options"]
    for index, option in enumerate(options or ()):
        if answer == option_letter(index):
            return f"{answer}. {option}"
    return None if answer is None else str(answer)


def _groups(row: Mapping[str, Any]) -> Json:
    """Column by column, in visiting order; responses as numbers into a list of texts."""
    groups = row["groups"] or []
    responses = list(dict.fromkeys(group["response"] for group in groups))
    columns = {name: [group[name] for group in groups] for name in ("group_index", "num_tokens_kept")}
    return columns | {
        "entropy": [_short(group["entropy"]) for group in groups],
        "response": [responses.index(group["response"]) for group in groups],
        "responses": responses,
        "num_planned": row["num_groups"],
        "stop_reason": row["stop_reason"],
        "num_tokens_bought": sum(group["num_tokens_bought"] for group in groups),
    }


def _bin_patches(patches: EvidencePatches) -> list[list[Any]]:
    """``[start_s, end_s, tokens, weight, least entropy of their groups]``; joined where there are too many to draw."""
    first = np.arange(len(patches))
    if len(patches) > MAX_PATCHES:
        step_s = patches.end_s_P[-1] / MAX_PATCHES
        _, first = np.unique(np.floor(patches.start_s_P / step_s), return_index=True)
    last = np.append(first[1:], len(patches)) - 1
    columns = (
        patches.start_s_P[first],
        patches.end_s_P[last],
        np.add.reduceat(patches.token_counts, first),
        np.add.reduceat(patches.weight_P, first),
        np.fmin.reduceat(patches.entropy_P, first),
    )
    return [_short(list(one)) for one in zip(*(column.tolist() for column in columns), strict=True)]


def _short(value: Any) -> Any:
    """Six digits of every number; what is no number of JSON becomes null."""
    if isinstance(value, list | tuple):
        return [_short(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _to_text(value: object) -> str | None:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return None if value is None else str(value)
