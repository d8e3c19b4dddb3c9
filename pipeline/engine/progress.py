"""How far a job is, as counts."""

from dataclasses import dataclass

from pipeline.engine.video_state import VideoState


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


@dataclass(kw_only=True, slots=True)
class Tally:
    """Counts of what is over; ``num_wasted`` also of what was scored for videos in flight when nobody needed it."""

    num_videos_done: int = 0
    num_questions_done: int = 0
    num_groups_scored: int = 0
    num_groups_planned: int = 0
    num_groups_wasted: int = 0

    def add(self, video: VideoState) -> None:
        """A video has ended."""
        self.num_videos_done += 1
        self.num_questions_done += len(video.questions)
        if video.plan is not None:
            self.num_groups_planned += len(video.plan.groups)
            self.num_groups_scored += video.num_groups_known
            useful = max(len(question.prefix) for question in video.questions)
            self.num_groups_wasted += video.num_groups_known - useful
