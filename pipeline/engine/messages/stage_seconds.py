"""What work cost, by stage."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSeconds:
    """Wall seconds by stage; fields are result columns."""

    decode_s: float = 0.0
    encode_s: float = 0.0
    prefill_s: float = 0.0
    score_s: float = 0.0
    scorer_wait_s: float = 0.0
    answer_s: float = 0.0

    def __add__(self, other: "StageSeconds") -> "StageSeconds":
        """Stage by stage."""
        return StageSeconds(
            decode_s=self.decode_s + other.decode_s,
            encode_s=self.encode_s + other.encode_s,
            prefill_s=self.prefill_s + other.prefill_s,
            score_s=self.score_s + other.score_s,
            scorer_wait_s=self.scorer_wait_s + other.scorer_wait_s,
            answer_s=self.answer_s + other.answer_s,
        )

    def scaled(self, factor: float) -> "StageSeconds":
        """Every stage times a factor."""
        return StageSeconds(
            decode_s=self.decode_s * factor,
            encode_s=self.encode_s * factor,
            prefill_s=self.prefill_s * factor,
            score_s=self.score_s * factor,
            scorer_wait_s=self.scorer_wait_s * factor,
            answer_s=self.answer_s * factor,
        )

    @property
    def total_s(self) -> float:
        """All stages together."""
        return self.decode_s + self.encode_s + self.prefill_s + self.score_s + self.scorer_wait_s + self.answer_s
