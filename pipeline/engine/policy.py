"""How far to run ahead: arithmetic of speculation, admission and batches. Nothing here ever changes a row."""

from math import ceil

from pipeline.planning.stretches import READY_LEAD

_IDLE_CALLS_PER_S = 32  # of one role: more would cost a coordinator a tenth of its time
_SHORTEST_POLL_S, _LONGEST_POLL_S = 2.0, 10.0  # well below what a worker may be silent for
IDLE_WINDOW = 4
"""Groups beyond the certain ones of which a scorer that would have nothing to do is given one.

A video whose questions stop early has two certain groups at first, while many wait to be read: until there are enough
of them, the next groups are needed more often than not, and cost nobody anything.
"""

_FIRST_GUESS_GROUPS = 16  # of a video, before any is known: few videos are begun at first, and more a second later


def speculation_window(*, num_videos: int, num_scorers: int, groups_in_hand: int) -> int:
    """Groups per video that may be handed out beyond those it needs in any case.

    Narrow (none) while there are at least as many videos as scorers: each then has a certain group to do. With fewer,
    what the scorers can have in hand is spread over the videos::

        64 scorers, 2 in hand:  64 videos -> 0   63 videos -> 2   10 videos -> 12   1 video -> 127

    Args:
        num_videos: that still score, or will when they are admitted.
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


def long_poll_s(num_waiting: int) -> float:
    """Seconds after which a worker without work gets an empty reply, and asks again: a sign of life, no more.

    ``10 wait -> 2 s   256 -> 8 s``

    Args:
        num_waiting: workers of its role that wait, itself included.
    """
    return min(_LONGEST_POLL_S, max(_SHORTEST_POLL_S, num_waiting / _IDLE_CALLS_PER_S))
