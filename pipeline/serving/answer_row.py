"""The row of a question that was answered by itself, with the columns that a run's rows have."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.engine.rows import group_rows, kept_tokens
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import VideoModel
from pipeline.passes.group_pass import ScoredGroup
from pipeline.passes.video_answer import VideoAnswer
from pipeline.planning.video_plan import VideoPlan
from pipeline.results.rows import EvidenceRow, QuestionResult, asked_columns
from pipeline.settings.config import RunConfig
from pipeline.uris import strip_secrets
from pipeline.video.decode import DecodedFrames


@dataclass(kw_only=True, slots=True)
class WorkDone:
    """What one answer took. Groups and frames that were kept from an earlier question count as nothing."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    total_s: float = 0.0
    num_frames_decoded: int = 0
    num_passes: int = 0
    decoders: set[str] = field(default_factory=set)
    sandboxes: set[str] = field(default_factory=set)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the seconds that pass meanwhile."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started_s

    def add(self, scored: ScoredGroup) -> None:
        """One group's pass, in seconds of the device."""
        self.seconds["encode"] += scored.encode_s
        self.seconds["prefill"] += scored.prefill_s
        self.seconds["score"] += scored.score_s

    def note_reading(self, decoded: DecodedFrames) -> None:
        """Frames that were used, whenever they were read."""
        self.decoders.add(decoded.decoder)
        self.sandboxes.add(decoded.sandbox)

    def columns(self) -> dict[str, Any]:
        """What a row says of it."""
        return {
            "decoder": "+".join(sorted(self.decoders)) or None,
            "sandbox": ", ".join(sorted(self.sandboxes - {""})) or None,
            "video_num_frames_decoded": self.num_frames_decoded,
            "video_num_decode_passes": self.num_passes,
            **{f"{stage}_s": self.seconds[stage] for stage in ("decode", "encode", "prefill", "score")},
            "answer_s": self.seconds["merge and prune"],
            "total_s": self.total_s,
        }


def answer_row(
    answer: VideoAnswer,
    plan: VideoPlan,
    work: WorkDone,
    *,
    question_key: str,
    fingerprint: str,
    config: RunConfig,
    model: VideoModel,
    config_hash: str,
    run_id: str,
    finished_at: datetime,
) -> QuestionResult:
    """All that is known of a question that has its answer."""
    final, needs_scores = answer.final, get_selector(config.method).needs_scores
    assert final is not None
    return QuestionResult(
        **asked_columns(answer.question),
        question_key=question_key,
        status="ok",
        warnings=answer.warnings,
        answer=final.answer,
        answer_text=final.answer_text,
        option_probabilities=final.option_probabilities,
        answer_entropy=final.answer_entropy,
        evidence=tuple(
            EvidenceRow(start_s=span.start_s, end_s=span.end_s, weight=span.weight, num_tokens=span.num_tokens)
            for span in final.evidence
        ),
        kept_tokens=kept_tokens(plan, final.tokens),
        groups=group_rows(answer.scores, answer.bought, final.kept) if needs_scores else (),
        num_groups=len(plan.groups),
        num_groups_scored=len(answer.scores) if needs_scores else 0,
        stop_reason="confident" if answer.has_stopped else "all_groups",
        num_tokens_offered=sum(score.num_tokens for score in answer.scores),
        num_tokens_kept=sum(final.kept.values()),
        num_sampled_frames=plan.sample.num_frames,
        num_token_rows=plan.geometry.token_rows,
        num_token_columns=plan.geometry.token_columns,
        duration_s=plan.probe.duration_s,
        memory_rung=0,
        video_num_groups_encoded=len(answer.scores),
        video_num_groups_prefilled=len(answer.scores) if needs_scores else 0,
        **work.columns(),
        model=strip_secrets(model.name),
        model_revision=model.revision,
        method=config.method,
        config_hash=config_hash,
        prompt_style=config.scoring.prompt_style,
        video_fingerprint=fingerprint,
        run_id=run_id,
        finished_at=finished_at,
    )
