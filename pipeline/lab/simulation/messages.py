"""How many records a call carries; each costs the coordinator's process time, beside the call itself."""

from collections.abc import Sequence

from pipeline.engine.messages.work import AnswerWork, Batch, Completion, DecodeDone, ScoreDone, ScoreWork


def records_in(completions: Sequence[Completion]) -> int:
    """A completion counts as many records as it holds references or scores, one at least."""
    count = 0
    for completion in completions:
        result = completion.result
        if isinstance(result, DecodeDone):
            count += max(1, len(result.bundles))
        elif isinstance(result, ScoreDone):
            count += max(1, len(result.scores))
        else:
            count += 1
    return count


def records_out(batch: Batch) -> int:
    """Work counts as many records as it holds references, one at least; so does what a scorer may drop."""
    count = len(batch.retain) + len(batch.released)
    for work in batch.work:
        if isinstance(work, ScoreWork):
            count += max(1, len(work.frames))
        elif isinstance(work, AnswerWork):
            count += max(1, len(work.pieces))
        else:
            count += 1
    return count
