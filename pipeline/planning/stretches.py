"""Into how many pieces a reading of a video is cut."""

from math import ceil

READY_LEAD = 2  # groups ready per group that the scorers can have in hand, before decoders are given more videos


_FEW_STRETCHES = 16  # cost the coordinator little, and let a last video end soon


_READ_AT_ONCE = 4


def stretches_per_pass(
    *, num_videos: int, num_decoders: int, num_scorers: int, groups_in_hand: int, num_certain: int
) -> int:
    """Pieces into which a reading is cut: one per decoder, fewer where several videos are read at the same time anyway.

    Each piece is a reference in each group, which is what large fleets keep a coordinator busy with::

        128 decoders, 64 scorers, 2 in hand, 157 groups:  1 video -> 128   10,000 videos -> 32

    Args:
        num_videos: of the job.
        num_decoders: asked for.
        num_scorers: asked for.
        groups_in_hand: of one scorer.
        num_certain: groups of a video that are sure to be needed at a time: all, or few where it may stop early.
    """
    num_feeding = READY_LEAD * num_scorers * groups_in_hand // num_certain + 1
    at_once = min(num_videos, max(_READ_AT_ONCE, num_feeding))
    return min(num_decoders, max(_FEW_STRETCHES, ceil(num_decoders / max(1, at_once))))
