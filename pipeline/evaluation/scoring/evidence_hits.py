"""Does the evidence that a run names lie where the benchmark says the answer is?"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipeline.evaluation.scoring.answers import Answer

Span = tuple[float, float]
FEW_SPANS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceHits:
    """Shares are over the questions with a usable reference; a failed answer names none and so misses.

    Attributes:
        num_skipped: questions whose reference is reversed, unreadable or empty.
        top_hit_share: the weightiest span overlaps a reference.
        few_hit_share: one of the five weightiest does.
        chance: share of top hits if each span lay anywhere in its video instead.
        reference_share: median share of the video that the references cover.
    """

    num_questions: int
    num_skipped: int
    top_hit_share: float
    few_hit_share: float
    chance: float | None
    reference_share: float | None


def measure_hits(answers: Sequence[Answer]) -> EvidenceHits | None:
    """Hit rates; None where nothing gives a usable reference."""
    referenced = [answer for answer in answers if answer.references is not None]
    usable = [answer for answer in referenced if answer.references]
    if not usable:
        return None
    placed = [answer for answer in usable if answer.duration_s and answer.evidence]
    shares = sorted(_covered_s(answer) / answer.duration_s for answer in placed if answer.duration_s)
    return EvidenceHits(
        num_questions=len(usable),
        num_skipped=len(referenced) - len(usable),
        top_hit_share=fmean(_hits(answer, 1) for answer in usable),
        few_hit_share=fmean(_hits(answer, FEW_SPANS) for answer in usable),
        chance=fmean(chance_of_hit(answer) for answer in placed) if placed else None,
        reference_share=shares[len(shares) // 2] if shares else None,
    )


def overlaps(one: Span, other: Span) -> bool:
    """Whether two half-open spans share a moment."""
    return one[0] < other[1] and other[0] < one[1]


def chance_of_hit(answer: Answer) -> float:
    """Probability that a span as long as the weightiest, anywhere inside the video, overlaps a reference."""
    start_s, end_s = answer.evidence[0]
    length_s = end_s - start_s
    room_s = (answer.duration_s or 0.0) - length_s
    if room_s <= 0:
        return 1.0
    # the span's start may lie in these parts of [0, room)
    starts = [(max(0.0, low - length_s), min(room_s, high)) for low, high in answer.references or ()]
    return _union_s(starts) / room_s


def _hits(answer: Answer, num_spans: int) -> bool:
    spans = answer.evidence[:num_spans] if answer.is_answered else ()
    return any(overlaps(span, reference) for span in spans for reference in answer.references or ())


def _covered_s(answer: Answer) -> float:
    duration_s = answer.duration_s or 0.0
    return _union_s([(max(0.0, low), min(duration_s, high)) for low, high in answer.references or ()])


def _union_s(spans: Sequence[Span]) -> float:
    """Seconds that spans cover together."""
    total_s, reached_s = 0.0, float("-inf")
    for low, high in sorted(spans):
        total_s += max(0.0, high - max(low, reached_s))
        reached_s = max(reached_s, high)
    return total_s
