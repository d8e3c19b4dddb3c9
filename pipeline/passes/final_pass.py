"""The final pass: merge what was bought, remove redundancy, answer, and say where the evidence lies.

Shape suffixes: K = tokens of the final pass, D = hidden size
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import option_letter
from pipeline.method.entropy import response_certainty
from pipeline.method.evidence import build_evidence
from pipeline.method.removal import remove_redundant
from pipeline.models.devices.transfer import staging, upload
from pipeline.models.interface import FinalTokens, VideoModel
from pipeline.passes.candidates import CandidatePiece
from pipeline.passes.records import FinalAnswer, FinalInput
from pipeline.passes.token_record import pack_tokens
from pipeline.settings.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Merged:
    """All bought tokens, in temporal, row, column order; ``position_K`` is the group's."""

    patch_K: npt.NDArray[np.int64]
    token_K: npt.NDArray[np.int64]
    position_K: npt.NDArray[np.int64]
    score_K: npt.NDArray[np.float32]
    features_KD: Tensor


def answer_question(
    model: VideoModel, pieces: Sequence[CandidatePiece], final: FinalInput, config: RunConfig
) -> FinalAnswer:
    """Answer one question from the tokens its groups sold.

    Raises:
        PipelineError: ``MODEL`` when the model's output is not a distribution.
    """
    # 1. merge (groups → one set in temporal, row, column order)
    merged = _merge_pieces(pieces, model.device)
    # 2. prune (1.1 B tokens → B)
    kept = _prune(merged, final, config, similarity_dim=model.similarity_dim)
    # 3. final pass (B tokens + question → response)
    scoring = replace(config.scoring, query_tokens="text", attention_reduce="mean")  # shares of the attention paid
    columns = final.geometry.token_columns
    prompt = model.build_question(
        final.question.text, final.question.options, response_tokens=config.scoring.response_tokens
    )
    is_open = final.question.options is None
    response = model.answer(
        FinalTokens(
            features_KD=merged.features_KD[upload(kept, model.device)],
            patch_K=merged.patch_K[kept],
            time_s_K=final.patch_times_s[merged.patch_K[kept]],
            row_K=merged.token_K[kept] // columns,
            column_K=merged.token_K[kept] % columns,
            center_s_K=None if final.patch_centers_s is None else final.patch_centers_s[merged.patch_K[kept]],
            geometry=final.geometry,
        ),
        prompt,
        positions=config.answering.positions,
        patch_s=model.frames_per_patch / config.sampling.sample_fps,
        max_tokens=config.scoring.response_tokens if is_open else config.answering.answer_tokens,
        config=scoring,
    )
    # 4. evidence (tokens → spans of time)
    patch_K, token_K, attention_K = merged.patch_K[kept], merged.token_K[kept], response.attention_N.astype(np.float64)
    evidence = build_evidence(patch_K, attention_K, final.patch_times_s, duration_s=final.duration_s)
    return FinalAnswer(
        answer=response.text if response.option is None else option_letter(response.option),
        answer_text=response.text,
        option_probabilities=response.option_probabilities,
        answer_entropy=_entropy(response.entropies, config),
        evidence=tuple(evidence),
        tokens=pack_tokens(patch_K, token_K, attention_K),
        kept=_count_by_group(merged, kept),
        letter_share=response.letter_share,
    )


def _merge_pieces(pieces: Sequence[CandidatePiece], device: torch.device) -> _Merged:
    """Features are copied once, each row to its place, into memory that the device reads beside computation."""
    patch_K = np.concatenate([piece.patch_K for piece in pieces])
    token_K = np.concatenate([piece.token_K for piece in pieces])
    order = np.lexsort((token_K, patch_K))
    place_K = np.empty_like(order)
    place_K[order] = np.arange(len(order))
    dtype = torch.from_numpy(pieces[0].bits_KD[:0].copy()).dtype
    bits_KD = staging((len(order), pieces[0].bits_KD.shape[1]), dtype, device)
    rows_KD, start = bits_KD.numpy(), 0
    for piece in pieces:
        rows_KD[place_K[start : start + len(piece.bits_KD)]] = piece.bits_KD
        start += len(piece.bits_KD)
    features_KD = upload(bits_KD, device)
    return _Merged(
        patch_K=patch_K[order],
        token_K=token_K[order],
        position_K=np.concatenate([np.full(len(piece.patch_K), piece.position) for piece in pieces])[order],
        score_K=np.concatenate([piece.score_K for piece in pieces])[order],
        features_KD=features_KD.view(torch.bfloat16) if pieces[0].is_bfloat16 else features_KD,
    )


def _prune(merged: _Merged, final: FinalInput, config: RunConfig, *, similarity_dim: int) -> npt.NDArray[np.int64]:
    if final.final_budget is None or len(merged.patch_K) <= final.final_budget:
        return np.arange(len(merged.patch_K))
    features_KD = merged.features_KD[:, :similarity_dim]
    kept_K = remove_redundant(
        features_KD.cpu() if final.rung else features_KD,  # the similarities are what can be moved off the device
        torch.from_numpy(final.patch_times_s[merged.patch_K]),
        torch.from_numpy(merged.score_K),
        keep=final.final_budget,
        proximity_s=config.budget.proximity_s,
    )
    return np.asarray(kept_K.numpy())


def _entropy(entropies: Sequence[float], config: RunConfig) -> float:
    """Nats; the same mean over the least certain tokens as in a group."""
    try:
        return 0.0 - response_certainty(entropies, share=config.scoring.certainty_share)
    except ValueError as error:
        raise PipelineError(
            FailureClass.MODEL, f"the final pass gave no distribution ({error}); try model.dtype=float32"
        ) from error


def _count_by_group(merged: _Merged, kept: npt.NDArray[np.int64]) -> dict[int, int]:
    positions, counts = np.unique(merged.position_K[kept], return_counts=True)
    return dict(zip(positions.tolist(), counts.tolist(), strict=True))
