"""The lines of a transcript in whatever form it is written: SRT, WebVTT, or plain text, which has none."""

import re
from functools import lru_cache

from pipeline.method.subtitles import Subtitle, parse_srt
from pipeline.method.webvtt import is_webvtt, parse_vtt

_SRT_TIMES = re.compile(r"^\s*\d+:\d+(?::\d+)?[.,]\d+\s+-->\s+\d", re.MULTILINE)


@lru_cache(maxsize=8)  # the questions of a video mostly share one
def parse_transcript(text: str) -> tuple[Subtitle, ...] | None:
    """The lines of SRT or WebVTT; None: there are no times, it is plain text.

    Raises:
        ValueError: It begins as WebVTT and is none.
    """
    if is_webvtt(text):
        return tuple(parse_vtt(text))
    return tuple(parse_srt(text)) if _SRT_TIMES.search(text) else None
