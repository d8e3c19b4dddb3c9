"""What one video has cost so far, its questions' own work aside."""

from dataclasses import dataclass, field

from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import DecodeDone


@dataclass(kw_only=True, slots=True, eq=False)
class Spent:
    """Counted as results come in, also those that nobody needed any more.

    Attributes:
        seconds: of work that all questions share.
        decoders: names of the libraries that read the video.
        sandboxes: what held the processes that did.
        notes: what went wrong on the way without changing a row.
    """

    seconds: StageSeconds = field(default_factory=StageSeconds)
    decoders: set[str] = field(default_factory=set)
    sandboxes: set[str] = field(default_factory=set)
    num_frames_decoded: int = 0
    num_groups_encoded: int = 0
    num_groups_prefilled: int = 0
    notes: list[str] = field(default_factory=list)

    def count_decoded(self, done: DecodeDone) -> None:
        """One stretch was read, or left to who scores it."""
        self.decoders |= {*done.decoder.split("+")} - {""}
        self.sandboxes |= {*done.sandbox.split(", ")} - {""}
        self.num_frames_decoded += done.num_frames_decoded
        self.notes += done.notes

    def count_group(self, *, was_prefilled: bool) -> None:
        """One group was encoded."""
        self.num_groups_encoded += 1
        self.num_groups_prefilled += was_prefilled
