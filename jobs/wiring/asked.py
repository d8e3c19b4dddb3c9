"""What a person writes of one question on a command line or at a prompt, as a manifest would have it."""

import argparse
import re
from pathlib import Path

from pipeline.manifest.transcripts import is_address
from pipeline.uris import has_scheme

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")


def seconds(text: str) -> float:
    """``750``, ``12:30`` and ``0:12:30`` are one time; for ``argparse``.

    Raises:
        argparse.ArgumentTypeError: It is no time.
    """
    clock = _CLOCK.fullmatch(text.strip())
    if clock is not None:
        hours, minutes, rest = clock.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(rest)
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write seconds, 12:30 or 1:02:03") from None


def absolute(address: str) -> str:
    """A path from the working folder on; other addresses as they are."""
    return address if has_scheme(address) else str(Path(address).absolute())


def transcript_cell(given: str | None) -> str | None:
    """The text, or the address of a file, which a manifest elsewhere can name."""
    return absolute(given.strip()) if given is not None and is_address(given) else given


def split_question(line: str) -> tuple[str, tuple[str, ...] | None]:
    """``Which colour? | red | blue`` -> the question and its options; without bars it is open.

    Raises:
        ValueError: A question or an option is empty, or there is one option only.
    """
    text, *options = (part.strip() for part in line.split("|"))
    if not text:
        raise ValueError("there is no question before the first bar: write Which colour? | red | blue")
    if len(options) == 1 or not all(options):
        raise ValueError("options need two texts at least, none of them empty: write Which colour? | red | blue")
    return text, tuple(options) or None
