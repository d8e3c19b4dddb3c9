"""WebVTT: cues with times, without what is not shown."""

import pytest

from pipeline.method.subtitles import Subtitle
from pipeline.method.webvtt import is_webvtt, parse_vtt

WHOLE = """\ufeffWEBVTT - a talk\r
Kind: captions\r
\r
NOTE made by hand\r
--> is no cue here\r
\r
STYLE\r
::cue { color: red }\r
\r
intro\r
00:01.000 --> 00:02.500 align:start position:10%\r
<v Anna>Good <i>evening</i> &amp; <00:01.500>welcome\r
to the show\r
\r
01:00:00.000 --> 01:00:01.000\r
<c.yellow.bg_blue>late</c> &lt;b&gt;\r
\r
NOTE\r
the end\r
"""


def cue(start_s, end_s, text):
    return Subtitle(start_s=start_s, end_s=end_s, text=text)


def test_cues_are_read_without_header_notes_styles_ids_settings_and_tags():
    assert parse_vtt(WHOLE) == [cue(1.0, 2.5, "Good evening & welcome to the show"), cue(3600.0, 3601.0, "late <b>")]


@pytest.mark.parametrize(
    ("block", "found"),
    [
        ("00:01.000 --> 00:02.000\nla", [cue(1, 2, "la")]),
        ("100:00:01.000 --> 100:00:02.000\nla", [cue(360_001, 360_002, "la")]),
        ("7\n00:01.000 --> 00:02.000\nla\nli", [cue(1, 2, "la li")]),
        ("00:01.000 --> 00:02.000\n<i></i>", []),  # says nothing
        ("00:02.000 --> 00:01.000\nla", []),  # ends before it starts
        ("00:01,000 --> 00:02,000\nla", []),  # SRT's comma is none of WebVTT's
        ("00:99.000 --> 02:00.000\nla", []),
        ("00:01.000 --> 00:02.000\nla\n\nNOTE no more", [cue(1, 2, "la")]),
        ("", []),
    ],
)
def test_a_block_is_a_cue_or_nothing(block, found):
    assert parse_vtt(f"WEBVTT\n\n{block}\n") == found


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "first line"), ("WEBVTTX\n\nla", "first line"), ("1\n00:01.000 --> 00:02.000\nla", "first line")],
)
def test_without_its_header_it_is_another_file(content, message):
    assert not is_webvtt(content)
    with pytest.raises(ValueError, match=message):
        parse_vtt(content)


def test_text_without_a_single_cue_is_refused():
    with pytest.raises(ValueError, match=r"no line like 00:01\.000 --> 00:02\.000"):
        parse_vtt("WEBVTT\n\nhello\n")
