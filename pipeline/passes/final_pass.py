"""The final pass: merge what was bought, remove redundancy, answer, and say where the evidence lies.

Shape suffixes: K = tokens of the final pass
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import option_letter
from pipeline.method.entropy import response_certainty
from pipeline.method.evidence import build_evidence
from pipeline.method.removal import remove_redundant
from pipeline.models.devices.transfer import upload
from pipeline.models.interface import FinalTokens, VideoModel, styled
from pipeline.passes.candidates import CandidatePiece
from pipeline.passes.merged_tokens import MergedTokens
from pipeline.passes.records import FinalAnswer, FinalInput
from pipeline.passes.token_record import pack_tokens
from pipeline.settings.config import RunConfig


def answer_question(
    model: VideoModel, pieces: Sequence[CandidatePiece], final: FinalInput, config: RunConfig
) -> FinalAnswer:
    """Answer one question from the tokens its groups sold.

    Raises:
        PipelineError: ``MODEL`` when the model's output is not a distribution.
    """
    # 1. merge (groups → one set in temporal, row, column order)
    merged = MergedTokens.of_pieces(pieces, model.device)
    # 2. prune (1.1 B tokens → B)
    kept = _prune(merged, final, config, similarity_dim=model.similarity_dim)
    # 3. final pass (B tokens + question → response)
    scoring = replace(config.scoring, query_tokens="text", attention_reduce="mean")  # shares of the attention paid
    columns = final.geometry.token_columns
    prompt = model.build_question(
        final.question.text,
        final.question.options,
        response_tokens=config.scoring.response_tokens,
        **styled(config.scoring),
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
            num_patches=len(final.patch_times_s),
        ),
        prompt,
        positions=config.answering.positions,
        patch_s=model.frames_per_patch / config.sampling.sample_fps,
        max_tokens=config.scoring.response_tokens if is_open else config.answering.answer_tokens,
        config=scoring,
    )
    # 4. evidence (tokens → spans of time)
    patch_K, token_K, attention_K = _places(merged, kept, response.attention_N.astype(np.float64))
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


def _prune(merged: MergedTokens, final: FinalInput, config: RunConfig, *, similarity_dim: int) -> npt.NDArray[np.int64]:
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


def _places(
    merged: MergedTokens, kept: npt.NDArray[np.int64], attention_K: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Patch, token and attention of what the final pass saw, in temporal, row, column order.

    An average stands for all that went into it, each with the same part of its attention.
    """
    patch_K, token_K = merged.patch_K[kept], merged.token_K[kept]
    if not merged.members:
        return patch_K, token_K, attention_K
    alone = [np.array([[patch, token]]) for patch, token in zip(patch_K, token_K, strict=True)]
    places = [merged.members.get(int(row), own) for row, own in zip(kept, alone, strict=True)]
    sizes_K = np.array([len(one) for one in places])
    all_places, weights = np.concatenate(places), np.repeat(attention_K / sizes_K, sizes_K)
    order = np.lexsort((all_places[:, 1], all_places[:, 0]))
    return all_places[order, 0], all_places[order, 1], weights[order]


def _entropy(entropies: Sequence[float], config: RunConfig) -> float:
    """Nats; the same mean over the least certain tokens as in a group."""
    try:
        return 0.0 - response_certainty(entropies, share=config.scoring.certainty_share)
    except ValueError as error:
        raise PipelineError(
            FailureClass.MODEL, f"the final pass gave no distribution ({error}); try model.dtype=float32"
        ) from error


def _count_by_group(merged: MergedTokens, kept: npt.NDArray[np.int64]) -> dict[int, int]:
    positions, counts = np.unique(merged.position_K[kept], return_counts=True)
    return dict(zip(positions.tolist(), counts.tolist(), strict=True))
