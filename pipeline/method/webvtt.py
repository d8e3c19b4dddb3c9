"""WebVTT, the subtitles of the web: cues without markup. What is done with them is in ``subtitles``.

By the standard (https://www.w3.org/TR/webvtt1/): a header line, then blocks between blank lines; a block whose first or
second line has an arrow is a cue, all others (NOTE, STYLE, REGION) are not shown.
"""

import html
import re

from pipeline.method.subtitles import Subtitle, parse_clock

_HEADER = re.compile(r"WEBVTT(?:[ \t].*)?")
_CUE_TIMES = re.compile(r"\s*([0-9:.]+)\s*-->\s*([0-9:.]+)(?:\s.*)?")  # settings such as align:start may follow
_MARKUP = re.compile(r"<[^<>]*>")  # <v Anna>, <c.yellow>, <i>, <00:00:01.000>
_TIME = re.compile(r"(?:\d{2,}:)?[0-5]\d:[0-5]\d\.\d{3}")


def is_webvtt(content: str) -> bool:
    """Whether the first line says so."""
    first, _, _ = content.lstrip("\ufeff").partition("\n")
    return _HEADER.fullmatch(first.rstrip("\r")) is not None


def parse_vtt(content: str) -> list[Subtitle]:
    """The cues in their order, without markup; those without text or with impossible times are left out.

    Raises:
        ValueError: The header is missing, or there is text after it but not a single cue.
    """
    if not is_webvtt(content):
        raise ValueError("the first line is not WEBVTT: not a WebVTT file")
    text = content.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    blocks = [block.split("\n") for block in re.split(r"\n{2,}", text.partition("\n")[2].strip("\n"))]
    cues = [cue for block in blocks if (cue := _parse_block(block)) is not None]
    has_arrow = any("-->" in line for block in blocks for line in block)
    if not cues and not has_arrow and any(_says_something(block) for block in blocks):
        raise ValueError("there is no line like 00:01.000 --> 00:02.000: not a WebVTT file")
    return cues


def _says_something(block: list[str]) -> bool:
    return bool(block[0].strip()) and re.match(r"NOTE\b|STYLE\b|REGION\b", block[0]) is None


def _parse_block(block: list[str]) -> Subtitle | None:
    at = next((index for index, line in enumerate(block[:2]) if "-->" in line), None)
    times = None if at is None else _CUE_TIMES.fullmatch(block[at])
    if at is None or times is None or not all(_TIME.fullmatch(time) for time in times.groups()):
        return None
    start_s, end_s = parse_clock(times[1]), parse_clock(times[2])
    text = " ".join(html.unescape(_MARKUP.sub("", " ".join(block[at + 1 :]))).split())
    if not text or start_s is None or end_s is None or end_s <= start_s:
        return None
    return Subtitle(start_s=start_s, end_s=end_s, text=text)
