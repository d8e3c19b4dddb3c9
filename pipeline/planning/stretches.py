"""Into how many pieces a reading of a video is cut, and how large they may be.

Each piece is a reference in each group, and references are what a large fleet keeps a coordinator busy with.
"""

from math import ceil

from pipeline.video.decode_plan import STRETCH_BYTES

READY_LEAD = 4  # groups ready per group that the scorers can have in hand, before decoders are given more videos


_FEW_STRETCHES = 16  # cost the coordinator little, and let a last video end soon


_READ_AT_ONCE = 4

_STRETCHES_PER_BUFFER = 16  # a stretch is held twice for a moment: as it is decoded, and as it is bundled

_FLEET_DECODERS = 32  # one coordinator has a lot to hand out from here on
_LARGE_STRETCH_BYTES = 2 * STRETCH_BYTES


def stretches_per_pass(
    *, num_videos: int, num_decoders: int, num_scorers: int, groups_in_hand: int, num_certain: int
) -> int:
    """Pieces into which a reading is cut: one per decoder, fewer where several videos are read at the same time anyway.

    ::

        128 decoders, 64 scorers, 2 in hand, 157 groups:  1 video -> 128   60 videos -> 32   10,000 videos -> 16

    Args:
        num_videos: of the job.
        num_decoders: asked for.
        num_scorers: asked for.
        groups_in_hand: of one scorer.
        num_certain: groups of a video that are sure to be needed at a time: all, or few where it may stop early.
    """
    num_feeding = READY_LEAD * num_scorers * groups_in_hand // num_certain + 1
    at_once = num_videos if _is_fleet(num_videos, num_decoders) else min(num_videos, max(_READ_AT_ONCE, num_feeding))
    return min(num_decoders, max(_FEW_STRETCHES, ceil(num_decoders / max(1, at_once))))


def most_stretch_bytes(*, num_videos: int, num_decoders: int, frame_buffer_bytes: int) -> int:
    """What the frames of one piece may take: little beside the room for all, as every decoder holds one twice.

    Pieces are twice as large where there are videos enough to keep each decoder of a large fleet busy, and room::

        1 TiB, 10,000 videos:  2 decoders -> 128 MiB   128 decoders -> 256 MiB
    """
    is_roomy = frame_buffer_bytes >= num_decoders * _STRETCHES_PER_BUFFER // 2 * _LARGE_STRETCH_BYTES
    most = _LARGE_STRETCH_BYTES if is_roomy and _is_fleet(num_videos, num_decoders) else STRETCH_BYTES
    return min(most, max(1, frame_buffer_bytes // _STRETCHES_PER_BUFFER))


def _is_fleet(num_videos: int, num_decoders: int) -> bool:
    return num_videos >= num_decoders >= _FLEET_DECODERS
