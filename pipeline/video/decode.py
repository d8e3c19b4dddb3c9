"""The wanted frames of one stretch as RGB arrays: decord where it can be trusted, else PyAV, with the same pixels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.backends.decord_backend import DecordRefusedError, decode_with_decord
from pipeline.video.backends.pyav_backend import decode_with_pyav
from pipeline.video.decode_plan import frames_to_decode
from pipeline.video.probe import VideoProbe

Backend = Literal["auto", "decord", "pyav"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodedFrames:
    """Frames of one stretch, in the order of the frame indices asked for.

    ``frames`` is (n, height, width, 3) RGB; ``bad_frames`` are positions in it that show a neighbour (or black) because
    their own frame could not be decoded. ``decoder`` is ``"decord"`` or ``"pyav"``.
    """

    frames: npt.NDArray[np.uint8]
    decoder: str
    num_frames_decoded: int
    bad_frames: tuple[int, ...] = ()


def decode_stretch(
    probe: VideoProbe,
    frame_indices: npt.NDArray[np.int64],
    *,
    size: tuple[int, int] | None = None,
    backend: Backend = "auto",
) -> DecodedFrames:
    """Decode frames of one video.

    A frame's pixels depend on the video, the frame and ``size`` only, never on what else is in the stretch.

    Args:
        probe: the video's timeline.
        frame_indices: (n,) ascending unique indices in presentation order.
        size: (height, width) as displayed; None keeps the video's own.
        backend: ``"auto"`` takes decord where its times agree with the probe's, PyAV otherwise and after any error.

    Raises:
        PipelineError: ``CORRUPT_MEDIA`` when no decoder can open the file; ``UNSUPPORTED_MEDIA`` when
            ``backend="decord"`` is demanded and decord must not or cannot decode this video.
        ValueError: for indices that are not ascending, unique and in the video, or a size below 1.
    """
    height, width = (probe.height, probe.width) if size is None else size
    _check_request(probe, frame_indices, height=height, width=width)
    if backend not in ("auto", "decord", "pyav"):
        raise ValueError(f"backend must be 'auto', 'decord' or 'pyav', got {backend!r}")
    if backend != "pyav":
        try:
            frames = decode_with_decord(probe, frame_indices, height=height, width=width)
        except DecordRefusedError as refusal:
            if backend == "decord":
                raise PipelineError(
                    FailureClass.UNSUPPORTED_MEDIA, f"{probe.path}: {refusal}; use backend 'auto' or 'pyav'."
                ) from refusal
        else:
            num_decoded = frames_to_decode(probe, frame_indices)
            return DecodedFrames(frames=frames, decoder="decord", num_frames_decoded=num_decoded)
    return _decode_by_pyav(probe, frame_indices, height=height, width=width)


def check_bad_share(probe: VideoProbe, *, num_bad: int, num_wanted: int, max_bad_frames_share: float) -> None:
    """Refuse a video of which too many wanted frames were lost; for the video as a whole, not for a stretch.

    Raises:
        PipelineError: ``CORRUPT_MEDIA``.
    """
    if num_bad > max_bad_frames_share * num_wanted:
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA,
            f"{probe.path}: {num_bad} of {num_wanted} wanted frames cannot be decoded, allowed is a share of "
            f"{max_bad_frames_share} (sampling.max_bad_frames_share); copy the video again or raise the share.",
        )


def _check_request(probe: VideoProbe, frame_indices: npt.NDArray[np.int64], *, height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"size must be (height, width) of at least 1 pixel, got {(height, width)}")
    is_ascending = bool(np.all(np.diff(frame_indices) > 0))
    if len(frame_indices) == 0 or not is_ascending or frame_indices[0] < 0 or frame_indices[-1] >= probe.num_frames:
        raise ValueError(
            f"frame_indices must be ascending, unique and within [0, {probe.num_frames}), got {frame_indices!r}; "
            "pass the frame_indices of a Stretch"
        )


def _decode_by_pyav(
    probe: VideoProbe, frame_indices: npt.NDArray[np.int64], *, height: int, width: int
) -> DecodedFrames:
    import av

    try:
        result = decode_with_pyav(probe, frame_indices, height=height, width=width)
    except av.error.FFmpegError as error:
        raise PipelineError(
            FailureClass.CORRUPT_MEDIA, f"{probe.path} cannot be decoded ({error.strerror}); copy the video again."
        ) from error
    return DecodedFrames(
        frames=result.frames,
        decoder="pyav",
        num_frames_decoded=result.num_frames_decoded,
        bad_frames=result.bad_frames,
    )
