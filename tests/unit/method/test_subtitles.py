"""Subtitles on the video's clock, chosen by the frames that a run samples, and put before the question."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.method.subtitles import (
    NO_SUBTITLES,
    Subtitle,
    parse_srt,
    parse_timed_lines,
    subtitles_for_frames,
    with_subtitles,
)
from pipeline.models.prompt import question_text

SRT = """1
00:00:01,000 --> 00:00:02,500
<font color="white" size=".72c">Hello there,</font>

2
00:00:02,500 --> 00:00:04,000
<font color="white" size=".72c">two lines</font>
<i>of it</i> at 5 < 6

3
01:00:00,000 --> 01:00:01,000


4
00:00:09.000 --> 00:00:10.000
7
"""


def cue(start_s, end_s, text="x"):
    return Subtitle(start_s=start_s, end_s=end_s, text=text)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_srt_cues_lose_their_markup_and_keep_their_lines(ending):
    content = "\ufeff" + SRT.replace("\n", ending)
    assert parse_srt(content) == [
        cue(1.0, 2.5, "Hello there,"),
        cue(2.5, 4.0, "two lines of it at 5 < 6"),
        cue(9.0, 10.0, "7"),
    ]


def test_a_file_that_is_no_srt_is_refused_but_an_empty_one_is_not():
    assert parse_srt(" \n") == []
    with pytest.raises(ValueError, match="not an SRT file"):
        parse_srt("WEBVTT\n\nhello")


STARTING_S, DURATION_S = 100.0, 20.0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"timestamp": [101.0, 103.5], "text": "in"}, cue(1.0, 3.5, "in")),
        ({"start": "00:01:41.000", "end": "00:01:43.500", "line": "in"}, cue(1.0, 3.5, "in")),
        ({"timestamp": [115.0, None], "text": "open"}, cue(15.0, 20.0, "open")),  # null: the clip's end
        ({"timestamp": [98.0, 102.0], "text": "before"}, cue(0.0, 2.0, "before")),  # clipped
        ({"timestamp": [119.0, 130.0], "text": "behind"}, cue(19.0, 20.0, "behind")),
        ({"timestamp": [1.0, 3.5], "text": "elsewhere"}, None),  # the whole track of a longer video comes along
        ({"timestamp": [120.0, 121.0], "text": "too late"}, None),
        ({"timestamp": [101.0, 102.0], "text": " "}, None),
    ],
)
def test_longvideobench_lines_are_moved_by_the_offset_and_clipped_to_the_clip(line, expected):
    found = parse_timed_lines(json.dumps([line]), duration_s=DURATION_S, starting_s=STARTING_S)
    assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "expected a list"),
        ('[{"text": "x"}]', "a line must have timestamp and text"),
        ('[{"start": "soon", "end": "later", "line": "x"}]', "got 'soon'"),
    ],
)
def test_longvideobench_files_of_another_shape_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        parse_timed_lines(content, duration_s=1.0, starting_s=0.0)


@pytest.mark.parametrize(
    ("subtitle", "min_width_s", "is_chosen"),
    [
        (cue(1.0, 2.0), 0.0, True),  # a frame at its start
        (cue(1.2, 2.0), 0.0, False),  # half-open: the frame at its end is the next one's
        (cue(1.2, 1.4), 0.0, False),
        (cue(1.2, 1.4), 1.0, True),  # widened to [0.8, 1.8)
        (cue(1.3, 1.5), 0.5, False),  # widened to [1.15, 1.65)
        (cue(9.0, 99.0), 0.0, False),
    ],
)
def test_a_subtitle_is_shown_if_a_sampled_frame_lies_in_it(subtitle, min_width_s, is_chosen):
    chosen = subtitles_for_frames([subtitle], np.array([0.0, 1.0, 2.0, 4.0]), min_width_s=min_width_s)
    assert chosen == ([subtitle] if is_chosen else [])


times = st.lists(st.integers(0, 200), min_size=1, max_size=20, unique=True).map(sorted)
cues = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)), max_size=20)


@settings(deadline=None)
@given(times, cues)
def test_choice_equals_trying_every_frame(frame_times, spans):
    subtitles = [cue(float(start), float(start + length), str(index)) for index, (start, length) in enumerate(spans)]
    chosen = subtitles_for_frames(subtitles, np.array(frame_times, dtype=np.float64))
    wanted = [item for item in subtitles if any(item.start_s <= time < item.end_s for time in frame_times)]
    assert sorted(item.text for item in chosen) == sorted(item.text for item in wanted)
    middles = [item.start_s + item.end_s for item in chosen]
    assert middles == sorted(middles)


def test_subtitles_stand_before_the_question_and_the_options_behind_it():
    asked = with_subtitles("Who sings?", [cue(0, 1, "la"), cue(1, 2, "li")])
    assert question_text(asked, ["Ann", "Bob"]) == (
        "This video's subtitles are listed below:\nla\nli\nWho sings?\nA. Ann\nB. Bob\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert with_subtitles("Who sings?", []).splitlines()[1:] == [NO_SUBTITLES, "Who sings?"]
