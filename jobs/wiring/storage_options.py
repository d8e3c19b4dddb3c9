"""Storage options from the command line: read, kept out of the process list, and never part of a message."""

import argparse
import ctypes
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.stores import S3, store_of

_ARGUMENTS_START, _ARGUMENTS_END = 45, 46  # fields 48 and 49 of /proc/PID/stat, counted behind the process's name


def parse_storage_options(text: str) -> dict[str, object]:
    """JSON, or ``@FILE`` that holds it; for ``argparse``.

    Raises:
        argparse.ArgumentTypeError: It is no JSON object. The text is not shown: it may hold a password.
    """
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise argparse.ArgumentTypeError(
                f"the file {text[1:]!r} cannot be read ({type(error).__name__})"
            ) from error
    else:
        hide_argument(text)
    try:
        options = json.loads(text)
    except ValueError as error:
        place = f" (character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise argparse.ArgumentTypeError(f'not JSON{place}; write {{"endpoint_url": "…"}} or @FILE') from None
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object, got a {type(options).__name__}; write {{…}} or @FILE")
    return options


def add_storage_options(parser: "argparse._ActionsContainer") -> None:
    """Give a command the option ``--storage-options``; without it the value is None."""
    parser.add_argument(
        "--storage-options",
        type=parse_storage_options,
        metavar="JSON|@FILE",
        help="for s3://, gs://, az://: keyword arguments of s3fs, gcsfs or adlfs, such as endpoint_url; default: the "
        "credentials that the cloud's own tools find. A file keeps them out of process lists, "
        "shell histories and job descriptions",
    )


def hide_argument(value: str) -> None:
    """Overwrite one argument of this process's command line, which every user can list and Ray writes to its logs.

    Only Linux says where the arguments lie; elsewhere use ``@FILE``.
    """
    secret = value.encode(errors="surrogateescape")
    sys.argv[:] = [argument.replace(value, "***") for argument in sys.argv]
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[_ARGUMENTS_START]), int(fields[_ARGUMENTS_END])
        position = ctypes.string_at(start, end - start).find(secret) if start else -1
        if position >= 0:
            ctypes.memset(start + position, ord("*"), len(secret))


def secret_values(options: Mapping[str, object] | None) -> tuple[str, ...]:
    """Texts in storage options that no log may show: all but those of a few options that are known to be harmless."""
    found: list[str] = []
    for name, value in (options or {}).items():
        if isinstance(value, Mapping):
            found += secret_values({str(key): inner for key, inner in value.items()})
        elif isinstance(value, str) and name not in ("endpoint_url", "region_name", "profile") and len(value) > 1:
            found.append(value)
    return tuple(sorted(found, key=len, reverse=True))


def check_storage_options(options: Mapping[str, object] | None, uris: Iterable[str] = ()) -> None:
    """Refuse what s3fs does not know, before anything is asked of a store; no network is used.

    Args:
        options: as given.
        uris: of this run; where none of them is on S3, they are for a client that takes any.

    Raises:
        ValueError: Names the option, never a value.
    """
    if not options or not {S3, None} & set(map(store_of, uris or [""])):
        return
    import fsspec
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

    try:
        fsspec.filesystem("s3", **options).connect()
    except (TypeError, ValueError, BotoCoreError) as error:
        unknown = error.args[0] if isinstance(error, TypeError) else type(error).__name__
        raise ValueError(f"--storage-options cannot be used by s3fs ({unknown}): correct or remove it") from error
