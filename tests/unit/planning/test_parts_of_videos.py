"""A part of a video is planned, priced and keyed as such; outside of it nothing is read, and no evidence can lie."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import Question
from pipeline.manifest.time_range import TimeRange
from pipeline.manifest.transcripts import transcript_of
from pipeline.method.evidence import build_evidence
from pipeline.method.selectors.registry import get_selector
from pipeline.planning.video_plan import plan_video
from pipeline.planning.video_sample import plan_cost
from pipeline.planning.video_warnings import warn_about
from pipeline.results.keys import question_key, question_keys
from pipeline.settings.config import RunConfig, SamplingConfig
from tests.unit.engine.fakes import FakeLayout, make_probe

PROBE = make_probe(400, gop=10)  # two frames per second, a keyframe every 5 s, 200 s


def config(**sampling):
    shape = {"frames_per_group": 8, "min_pixels": 1, "max_pixels": 10_000, "sample_fps": 0.5} | sampling
    return RunConfig(method="adapttoken", sampling=SamplingConfig(**shape))


def plan(part, *, probe=PROBE, **sampling):
    chosen = config(**sampling)
    return plan_video(probe, layout=FakeLayout(), selector=get_selector("adapttoken"), config=chosen, time_range=part)


def facts(planned):
    passes = [[stretch.frame_indices.tolist() for stretch in one.stretches] for one in planned.passes]
    groups = [group.tolist() for group in planned.groups]
    return planned.sample.times_s.tobytes(), planned.patch_times_s.tobytes(), groups, passes, planned.end_s


def test_only_the_part_is_sampled_and_decoded_from_the_keyframe_before_it():
    planned = plan(TimeRange(start_s=101.0, end_s=111.0))
    assert planned.sample.times_s.tolist() == [101, 103, 105, 107, 109]
    (only,) = planned.passes
    assert only.num_frames_to_decode == (1 + 2 + 4) + (1 + 4 + 4)  # of two GOPs: to 103 s, and 105 s to 109 s
    assert only.stretches[0].frame_indices[0] == 202


@pytest.mark.parametrize("seek", ["exact", "keyframe"])
@pytest.mark.parametrize("end_s", [None, 200.0, 1e9])
def test_the_part_that_is_the_whole_video_is_planned_as_the_whole_video(seek, end_s):
    assert facts(plan(TimeRange(end_s=end_s), seek=seek)) == facts(plan(None, seek=seek))


@settings(deadline=None, max_examples=60)
@given(
    start_s=st.floats(0, 199.9),
    length_s=st.floats(0.001, 300),
    seek=st.sampled_from(["exact", "keyframe"]),
    sample_fps=st.sampled_from([0.3, 0.5, 2.0, 5.0]),
    seed=st.integers(0, 99),
)
def test_whatever_tokens_are_kept_their_evidence_lies_inside_the_part(start_s, length_s, seek, sample_fps, seed):
    end_s = start_s + max(0.002, length_s)
    planned = plan(TimeRange(start_s=start_s, end_s=end_s), seek=seek, sample_fps=sample_fps, snap_tolerance_s=0.1)
    random = np.random.default_rng(seed)
    tokens = random.integers(0, len(planned.patch_times_s), 5)
    spans = build_evidence(tokens, random.random(5), planned.patch_times_s, duration_s=planned.end_s)
    assert spans
    assert all(start_s <= span.start_s < span.end_s <= min(end_s, 200.0) for span in spans)


def test_what_came_on_show_before_the_part_is_evidence_from_its_start_on():
    planned = plan(TimeRange(start_s=50.3, end_s=51.9), sample_fps=2.0)
    assert planned.sample.times_s.tolist() == [50.0, 50.5, 51.0, 51.5]
    assert planned.patch_times_s[0] == 50.3


@pytest.mark.parametrize("start_s", [200.0, 199.9999, 5_000.0])
def test_a_part_after_the_end_is_refused_with_both_times_and_the_remedy(start_s):
    with pytest.raises(PipelineError, match=r"start_s=.* lies at or after the end of .* 200 s long; correct") as found:
        plan(TimeRange(start_s=start_s))
    assert found.value.failure_class is FailureClass.MANIFEST


def test_an_end_after_the_videos_is_told_and_a_part_that_ends_before_lost_frames_lacks_nothing():
    cut_off = replace(PROBE, num_missing_frames=3)

    def warnings(part, probe=PROBE):
        return warn_about(plan(part, probe=probe), set(), num_groups=1, is_demo_model=False)

    assert warnings(TimeRange(end_s=300.0)) == ("end_s=300 lies after the video's end at 200 s: asked until there",)
    assert warnings(TimeRange(end_s=200.0)) == ()
    assert warnings(TimeRange(end_s=100.0), cut_off) == ()
    assert "frames are damaged or lost" in warnings(TimeRange(start_s=100.0), cut_off)[0]


def test_a_part_costs_what_a_part_costs():
    whole, half = (
        plan_cost(PROBE, config=config(), layout=FakeLayout(), size_bytes=1_000_000, time_range=part)
        for part in (None, TimeRange(start_s=50.0, end_s=150.0))
    )
    assert (whole.duration_s, half.duration_s) == (200.0, 100.0)
    for name in ("num_sampled_frames", "num_frames_to_decode", "num_tokens"):
        assert getattr(half, name) * 2 == getattr(whole, name)


def test_keys_of_questions_about_whole_videos_are_those_of_before_there_were_parts():
    assert question_key("f" * 16, "Why?", ("a", "b"), "c" * 16) == "56d676956dfd2ba91ccefd1f65696071"
    assert question_key("f" * 16, "何?", None, "c" * 16, occurrence=2) == "e37b4e6216dcc2dcc3a138677ff3c122"


def test_each_part_and_each_transcript_is_other_work_and_the_same_twice_is_told_apart():
    plain = Question(question_id="q", video="v", text="Why?", options=None, row_index=0)
    parts = [None, TimeRange(), TimeRange(start_s=1.0), TimeRange(end_s=1.0), TimeRange(start_s=1.0, end_s=2.0)]
    said = [None, transcript_of("la"), transcript_of("li")]
    asked = [replace(plain, time_range=part, transcript=text) for part in parts for text in said]
    keys = question_keys([*asked, *asked], fingerprint="f", config_hash="c")
    assert len(set(keys)) == 2 * len(asked)
    again = replace(asked[1], transcript=replace(transcript_of("la"), uri="/elsewhere.srt"))
    assert question_keys([again], fingerprint="f", config_hash="c") == [keys[1]]
