"""A video that nobody has read: frames at a constant rate, keyframes at a constant distance."""

from fractions import Fraction

import numpy as np

from pipeline.video.containers import Container
from pipeline.video.probe import VideoProbe


def assume_video(path: str, *, num_frames: int, fps: float, gop_frames: int, height: int, width: int) -> VideoProbe:
    """What a probe of it would say; ``path`` is what messages call it, ``gop_frames`` lie from keyframe to keyframe."""
    pts = np.arange(num_frames, dtype=np.int64)
    keyframes = np.arange(0, num_frames, gop_frames, dtype=np.int64)
    return VideoProbe(
        path=path,
        container=Container.ISO_BMFF,
        codec="h264",
        bit_depth=8,
        duration_s=num_frames / fps,
        time_base=1 / Fraction(fps).limit_denominator(1_000),
        pts=pts,
        pts_s=pts / fps,
        keyframe_indices=keyframes,
        keyframe_pts=keyframes,
        keyframe_dts=keyframes,
        width=width,
        height=height,
        rotation=0,
        is_constant_rate=True,
    )
