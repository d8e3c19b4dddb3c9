"""What is refused of a readable video, because reading it all would cost too much: each limit is a setting."""

from typing import Protocol

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig


class Picture(Protocol):
    """A decoded frame, or a codec's announcement of one."""

    @property
    def width(self) -> int:
        """Pixels."""
        ...

    @property
    def height(self) -> int:
        """Pixels."""
        ...


def refuse_large_pictures(path: str, picture: Picture, reading: ReadingConfig) -> None:
    """More pixels than ``max_frame_pixels``; the codec announces them before anything is decoded."""
    if picture.width * picture.height > reading.max_frame_pixels:
        raise PipelineError(
            FailureClass.TOO_LARGE,
            f"{path} has pictures of {picture.width} x {picture.height} pixels, allowed are "
            f"{reading.max_frame_pixels:,} pixels; scale the video down or raise reading.max_frame_pixels.",
        )


def refuse_long(path: str, duration_s: float, reading: ReadingConfig) -> None:
    """Longer than ``max_duration_s``; often a wrong time stamp."""
    if duration_s > reading.max_duration_s:
        raise PipelineError(
            FailureClass.TOO_LARGE,
            f"{path} lasts {duration_s:,.0f} s, allowed are {reading.max_duration_s:,.0f} s; correct its time stamps, "
            "cut it, or raise reading.max_duration_s.",
        )


def refuse_many_frames(path: str, num_frames: int, reading: ReadingConfig) -> None:
    """More coded frames than ``max_video_frames``; asked while they are counted."""
    if num_frames > reading.max_video_frames:
        raise PipelineError(
            FailureClass.TOO_LARGE,
            f"{path} has more than {reading.max_video_frames:,} frames; cut it or raise reading.max_video_frames.",
        )


def refuse_cut_off(path: str, num_packets: int, num_missing: int, max_missing_share: float) -> None:
    """Fewer frames in the file than its index announces."""
    num_announced = num_packets + num_missing
    if num_missing > max_missing_share * num_announced:
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA,
            f"{path} is cut off: {num_missing} of {num_announced} frames of its index are not in the file, allowed is "
            f"a share of {max_missing_share} (sampling.max_bad_frames_share); copy it again.",
        )
