"""Frames by torchcodec, optional: it needs a wheel that suits torch, and a shared FFmpeg of the system's.

At a video's own size and 8 bits the pixels are PyAV's, bit for bit. It resizes after the conversion to RGB, with the
same bilinear filter, where PyAV and decord resize before it: so resized pixels are close, not equal.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from pipeline.video.backends.interface import DecodeReport, Images, IntArray, RefusedError, iter_chunks
from pipeline.video.decode_plan import frames_to_decode
from pipeline.video.probe import VideoProbe
from pipeline.video.video_file import is_handed_over, open_file

TOLERANCE_S = 1e-6


def decode_with_torchcodec(probe: VideoProbe, frame_indices: IntArray, frames: Images) -> DecodeReport:
    """Fill ``frames`` as ``interface.DecodeFrames`` says.

    Raises:
        RefusedError: torchcodec cannot be loaded, failed, or disagrees with the probe about a frame's time.
    """
    if probe.is_mirrored:
        raise RefusedError("torchcodec does not mirror")
    try:
        decoders, transforms = import_module("torchcodec.decoders"), import_module("torchcodec.transforms")
    except (ImportError, OSError, RuntimeError) as error:
        raise RefusedError(
            f"torchcodec cannot be loaded ({first_line(error)}); install the wheel that suits torch, and FFmpeg"
        ) from error
    height, width = frames.shape[1:3]
    is_resized = (height, width) != (probe.height, probe.width) or probe.pixel_aspect != 1
    with ExitStack() as files, _explained():
        source = files.enter_context(open_file(probe.path)) if is_handed_over(probe.path) else probe.path
        decoder = decoders.VideoDecoder(
            source,
            dimension_order="NHWC",
            num_ffmpeg_threads=1,
            device="cpu",
            transforms=[transforms.Resize((height, width))] if is_resized else None,
        )
        if len(decoder) != probe.num_frames:
            raise RefusedError(f"torchcodec counts {len(decoder)} frames, the probe {probe.num_frames}")
        for chunk in iter_chunks(frames):
            batch = decoder.get_frames_at(frame_indices[chunk].tolist())
            compare_times(batch.pts_seconds, probe, frame_indices[chunk])
            frames[chunk] = batch.data.numpy()
    return DecodeReport(num_frames_decoded=frames_to_decode(probe, frame_indices))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        raise RefusedError(f"torchcodec failed: {first_line(error)}") from error


def compare_times(pts_seconds: Any, probe: VideoProbe, frame_indices: IntArray) -> None:
    """Compare with the file's own times, which torchcodec keeps.

    Raises:
        RefusedError: They are others.
    """
    found_s = pts_seconds.cpu().numpy()
    expected_s = probe.pts[frame_indices] * float(probe.time_base)
    is_apart = np.abs(found_s - expected_s) > TOLERANCE_S
    if is_apart.any():
        at = int(np.argmax(is_apart))
        raise RefusedError(
            f"torchcodec presents frame {frame_indices[at]} at {found_s[at]:.4f} s of the file, the probe at "
            f"{expected_s[at]:.4f} s"
        )


def first_line(error: Exception) -> str:
    """What an error says, without its native frames."""
    return str(error).strip().partition("\n")[0].rstrip(".")
