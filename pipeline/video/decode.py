"""The wanted frames of one stretch as RGB arrays, by the library that was named, or by the first that can."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.backends import registry
from pipeline.video.backends.interface import RefusedError
from pipeline.video.probe import VideoProbe

Backend = Literal["auto", "decord", "nvdec", "pyav", "torchcodec"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodedFrames:
    """Frames of one stretch, in the order of the frame indices asked for.

    ``frames`` is (n, height, width, 3) RGB; ``bad_frames`` are positions in it that show a neighbour (or black) because
    their own frame could not be decoded, or a picture that the decoder had to patch up. ``decoder`` is the name of the
    library that read them; ``sandbox`` says which layers held it (``SandboxReport.summary``), empty in this process.
    """

    frames: npt.NDArray[np.uint8]
    decoder: str
    num_frames_decoded: int
    bad_frames: tuple[int, ...] = ()
    sandbox: str = ""


def decode_stretch(
    probe: VideoProbe,
    frame_indices: npt.NDArray[np.int64],
    *,
    size: tuple[int, int] | None = None,
    backend: Backend = "auto",
    out: npt.NDArray[np.uint8] | None = None,
) -> DecodedFrames:
    """Decode frames of one video.

    A frame's pixels depend on the video, the frame and ``size`` only, never on what else is in the stretch.

    Args:
        probe: the video's timeline.
        frame_indices: (n,) ascending unique indices in presentation order.
        size: (height, width) as displayed; None keeps the video's own.
        backend: a library by name, or ``"auto"``: the first of ``registry.AUTO_ORDER`` that does not refuse the video.
        out: (n, height, width, 3) array to fill, such as shared memory; the result's ``frames`` is then this array.

    Raises:
        PipelineError: ``CORRUPT_MEDIA`` when the file cannot be opened; ``UNSUPPORTED_MEDIA`` when the named library
            is absent, or must not or cannot decode this video.
        ValueError: for indices that are not ascending, unique and in the video, a size below 1, an ``out`` of another
            shape or type, or an unknown library.
    """
    height, width = (probe.height, probe.width) if size is None else size
    _check_request(probe, frame_indices, height=height, width=width)
    shape = (len(frame_indices), height, width, 3)
    frames = np.empty(shape, dtype=np.uint8) if out is None else _check_out(out, shape)
    refusals = []
    for name in _order(backend):
        try:
            report = registry.BACKENDS[name](probe, frame_indices, frames)
        except RefusedError as refusal:
            refusals.append(str(refusal))
        else:
            num_decoded, bad_frames = report.num_frames_decoded, report.bad_frames
            return DecodedFrames(frames=frames, decoder=name, num_frames_decoded=num_decoded, bad_frames=bad_frames)
    raise PipelineError(
        FailureClass.UNSUPPORTED_MEDIA,
        f"{probe.path}: {'; '.join(refusals)}. Set sampling.decoder to 'auto' or 'pyav' instead of {backend!r}.",
    )


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


def _order(backend: str) -> tuple[str, ...]:
    if backend == "auto":
        return registry.AUTO_ORDER
    if backend not in registry.BACKENDS:
        raise ValueError(f"backend must be 'auto' or one of {', '.join(sorted(registry.BACKENDS))}, got {backend!r}")
    return (backend,)


def _check_request(probe: VideoProbe, frame_indices: npt.NDArray[np.int64], *, height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"size must be (height, width) of at least 1 pixel, got {(height, width)}")
    is_ascending = bool(np.all(np.diff(frame_indices) > 0))
    if len(frame_indices) == 0 or not is_ascending or frame_indices[0] < 0 or frame_indices[-1] >= probe.num_frames:
        raise ValueError(
            f"frame_indices must be ascending, unique and within [0, {probe.num_frames}), got {frame_indices!r}; "
            "pass the frame_indices of a Stretch"
        )


def _check_out(out: npt.NDArray[np.uint8], shape: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    if out.shape != shape or out.dtype != np.uint8 or not out.flags.writeable:
        raise ValueError(
            f"out must be a writable uint8 array of shape {shape}, got {out.dtype} {out.shape}, "
            f"writable={out.flags.writeable}; allocate (n, height, width, 3)"
        )
    return out
