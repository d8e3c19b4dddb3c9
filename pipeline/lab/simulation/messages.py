"""How many records a call carries; each costs the coordinator's process time, beside the call itself."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.engine.messages.work import (
    AnswerWork,
    Batch,
    Completion,
    DecodeDone,
    DecodeWork,
    GatherDone,
    ProbeDone,
    ScoreDone,
    ScoreWork,
)


class Load(NamedTuple):
    """What a message carries."""

    num_records: int
    num_references: int


def load_in(completions: Sequence[Completion]) -> Load:
    """A completion is a record, or as many as it holds scores; frames and tokens are references."""
    num_records = num_references = 0
    for completion in completions:
        result = completion.result
        num_records += max(1, len(result.scores)) if isinstance(result, ScoreDone) else 1
        if isinstance(result, DecodeDone):
            num_references += len(result.bundles)
        elif isinstance(result, GatherDone | ProbeDone):
            num_references += 1
    return Load(num_records, num_references)


def load_out(batch: Batch) -> Load:
    """Work, and what a scorer may drop, are records; a bundle that several groups share travels once."""
    num_records = len(batch.work) + len(batch.retain) + len(batch.released)
    bundles = {id(ref) for work in batch.work if isinstance(work, ScoreWork) for ref in work.frames}
    pieces = sum(len(work.pieces) for work in batch.work if isinstance(work, AnswerWork))
    num_timelines = sum(isinstance(work, DecodeWork) for work in batch.work)
    return Load(num_records, len(bundles) + pieces + num_timelines)
