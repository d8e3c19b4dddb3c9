"""How far to run ahead: arithmetic of speculation, admission and batches. Nothing here ever changes a row."""

from math import ceil

READY_LEAD = 2  # groups ready per group that the scorers can have in hand, before decoders are given more videos


_FIRST_GUESS_GROUPS = 16  # of a video, before any is known: few videos are begun at first, and more a second later
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


def speculation_window(*, num_videos: int, num_scorers: int, groups_in_hand: int) -> int:
    """Groups per video that may be handed out beyond those it needs in any case.

    Narrow (none) while there are at least as many videos as scorers: each then has a certain group to do. With fewer,
    what the scorers can have in hand is spread over the videos::

        64 scorers, 2 in hand:  64 videos -> 0   63 videos -> 2   10 videos -> 12   1 video -> 127

    Args:
        num_videos: that still score, or will when they are let in.
        num_scorers: known now.
        groups_in_hand: of one scorer.
    """
    if num_videos >= num_scorers:
        return 0
    return ceil(num_scorers * groups_in_hand / max(1, num_videos)) - 1


def wants_more_videos(
    *,
    num_scoring: int,
    videos_in_flight: int,
    is_short_of_room: bool,
    num_unprobed: int,
    mean_groups: float | None,
    num_queued: int,
    num_decoders: int,
    num_ready: int,
    num_in_hand: int,
) -> bool:
    """Whether another video is begun: up to ``videos_in_flight`` always, then only where workers would starve.

    Scorers would when less than ``READY_LEAD`` times what they hold is ready; but what is queued for the decoders, or
    waits for room in bytes, comes first: a further video would only wait behind it.

    Args:
        num_scoring: videos begun that still read or score.
        videos_in_flight: the floor.
        is_short_of_room: a video begun waits for room for its frames or candidates.
        num_unprobed: videos begun whose timeline is not known.
        mean_groups: of the videos in flight; None while no timeline is known.
        num_queued: stretches that wait for a decoder.
        num_decoders: known now.
        num_ready: groups that could be handed out without speculation.
        num_in_hand: groups that all scorers can have in hand.
    """
    if num_scoring < videos_in_flight:
        return True
    if is_short_of_room or num_unprobed >= num_decoders or num_queued >= num_decoders:
        return False
    num_expected = num_unprobed * (_FIRST_GUESS_GROUPS if mean_groups is None else mean_groups)
    return num_ready + num_expected < READY_LEAD * num_in_hand


def groups_to_hand(*, num_ready: int, num_scorers: int, room: int) -> int:
    """Groups for one scorer that asks: more than one only where that leaves one for every other scorer.

    ``room=2: 128 ready for 64 scorers -> 2, 127 -> 1, 3 -> 1``
    """
    return min(room, max(1, num_ready // max(1, num_scorers)))
