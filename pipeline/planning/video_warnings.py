"""What a row says about its video and its answer, and when too many frames are lost for a question."""

from pipeline.method.sampling import TIME_TOLERANCE_S
from pipeline.planning.video_plan import VideoPlan
from pipeline.results.demo_warning import DEMO_MODEL_WARNING
from pipeline.video.decode import check_bad_share

LEAST_LETTER_SHARE = 0.5


def count_lost(plan: VideoPlan, bad_frames: set[int], *, num_groups: int) -> tuple[int, int]:
    """Frames lost and frames wanted in the first ``num_groups`` groups of the visiting order.

    What other passes read does not count, so the answer is the same however far ahead the video was decoded. Frames
    that the file lacks at its end are lost for every prefix.
    """
    positions = range(num_groups) if bad_frames else ()
    bad = sum(len(bad_frames.intersection(plan.group_frames(p).tolist())) for p in positions)
    is_cut_off = plan.end_s > plan.probe.pts_s[-1]  # a part that ends before lacks nothing
    return bad + plan.probe.num_missing_frames * is_cut_off, sum(plan.group_num_frames[:num_groups])


def check_lost(plan: VideoPlan, bad_frames: set[int], *, num_groups: int, max_bad_frames_share: float) -> None:
    """Refuse a prefix of groups of which too many frames were lost; a cut-off end alone has passed the probe.

    Raises:
        PipelineError: ``CORRUPT_MEDIA``.
    """
    if bad_frames:
        num_bad, num_wanted = count_lost(plan, bad_frames, num_groups=num_groups)
        check_bad_share(plan.probe, num_bad=num_bad, num_wanted=num_wanted, max_bad_frames_share=max_bad_frames_share)


NVDEC_WARNING = (
    "NVDEC read the frames, which does not tell which of them it patched up: where the file may be damaged, ask again "
    "with sampling.decoder=auto"
)


def warn_about(
    plan: VideoPlan, bad_frames: set[int], *, num_groups: int, is_demo_model: bool, is_by_nvdec: bool = False
) -> tuple[str, ...]:
    """What a row says about its video: whose model it is for, what was mended, which frames are lost."""
    found = [DEMO_MODEL_WARNING] if is_demo_model and not plan.probe.is_demo_video else []
    found += [f"video: {warning}" for warning in plan.probe.warnings]
    asked_end_s = None if plan.time_range is None else plan.time_range.end_s
    if asked_end_s is not None and asked_end_s > plan.end_s + TIME_TOLERANCE_S:
        found.append(f"end_s={asked_end_s:g} lies after the video's end at {plan.end_s:g} s: asked until there")
    found += [NVDEC_WARNING] if is_by_nvdec else []
    num_lost, num_wanted = count_lost(plan, bad_frames, num_groups=num_groups)
    if num_lost:
        stand_ins = "patched-up or neighbouring ones stand in"
        found.append(f"{num_lost} of {num_wanted} wanted frames are damaged or lost; {stand_ins}")
    return tuple(found)


def warn_about_letters(letter_share: float | None) -> tuple[str, ...]:
    """What a row says of a multiple-choice answer whose first token is likelier something else than a letter.

    Args:
        letter_share: probability of all the options' letters together; None where there are none.
    """
    if letter_share is None or letter_share >= LEAST_LETTER_SHARE:
        return ()
    return (
        f"the options' letters have {letter_share:.1%} of the answer's first token, the rest is something else: this "
        "model may not answer with a letter here; answer_text has what it says",
    )
