"""How far a job is, as counts."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Counts for a progress display; those of an attempt that starts over are taken back, but for the wasted."""

    num_videos: int
    num_videos_done: int
    num_questions: int
    num_questions_done: int
    num_groups_scored: int
    num_groups_planned: int
    num_groups_wasted: int = 0
