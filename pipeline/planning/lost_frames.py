"""Frames that could not be decoded: how many of them count for a question, and when they are too many."""

from pipeline.planning.video_plan import VideoPlan
from pipeline.video.decode import check_bad_share


def count_lost(plan: VideoPlan, bad_frames: set[int], *, num_groups: int) -> tuple[int, int]:
    """Frames lost and frames wanted in the first ``num_groups`` groups of the visiting order.

    What other passes read does not count, so the answer is the same however far ahead the video was decoded. Frames
    that the file lacks at its end are lost for every prefix.
    """
    positions = range(num_groups) if bad_frames else ()
    bad = sum(len(bad_frames.intersection(plan.group_frames(p).tolist())) for p in positions)
    return bad + plan.probe.num_missing_frames, sum(plan.group_num_frames[:num_groups])


def check_lost(plan: VideoPlan, bad_frames: set[int], *, num_groups: int, max_bad_frames_share: float) -> None:
    """Refuse a prefix of groups of which too many frames were lost; a cut-off end alone has passed the probe.

    Raises:
        PipelineError: ``CORRUPT_MEDIA``.
    """
    if bad_frames:
        num_bad, num_wanted = count_lost(plan, bad_frames, num_groups=num_groups)
        check_bad_share(plan.probe, num_bad=num_bad, num_wanted=num_wanted, max_bad_frames_share=max_bad_frames_share)


def warn_of_lost(plan: VideoPlan, bad_frames: set[int], *, num_groups: int) -> tuple[str, ...]:
    """What a row says about them; nothing where there are none."""
    num_lost, num_wanted = count_lost(plan, bad_frames, num_groups=num_groups)
    if not num_lost:
        return ()
    return (f"{num_lost} of {num_wanted} wanted frames are damaged or lost; patched-up or neighbouring ones stand in",)
