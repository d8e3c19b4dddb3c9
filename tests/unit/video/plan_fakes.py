"""Timelines without a file, and plans for them with frames of 10 bytes."""

from fractions import Fraction

import numpy as np

from pipeline.video.containers import Container
from pipeline.video.decode_plan import plan_decode
from pipeline.video.probe import VideoProbe


def make_probe(num_frames, keyframe_indices, container=Container.ISO_BMFF) -> VideoProbe:
    pts = np.arange(num_frames, dtype=np.int64)
    keyframes = np.array(keyframe_indices, dtype=np.int64)
    return VideoProbe(
        path="/v.mp4",
        container=container,
        codec="h264",
        bit_depth=8,
        duration_s=num_frames / 25,
        time_base=Fraction(1, 25),
        pts=pts,
        pts_s=pts / 25,
        keyframe_indices=keyframes,
        keyframe_pts=pts[keyframes],
        keyframe_dts=pts[keyframes],
        width=8,
        height=8,
        rotation=0,
        is_constant_rate=True,
    )


def interleaved(num_samples, num_groups):
    """Sampled frame positions per two-frame patch, and the groups g, g+G, ... in bit-reversed visiting order."""
    patches = np.arange(num_samples + num_samples % 2).clip(max=num_samples - 1).reshape(-1, 2)
    order = sorted(range(min(num_groups, len(patches))), key=lambda group: f"{group:010b}"[::-1])
    return patches, [np.arange(group, len(patches), num_groups) for group in order]


def plan(probe, sample, num_groups, *, max_frames=10**6, num_stretches=1, growing=False, stretch_frames=10**6):
    patches, groups = interleaved(len(sample), num_groups)
    return plan_decode(
        probe,
        sample,
        patches,
        groups,
        frame_bytes=10,
        frame_buffer_bytes=10 * max_frames,
        num_stretches=num_stretches,
        growing=growing,
        stretch_bytes=10 * stretch_frames,
    )
