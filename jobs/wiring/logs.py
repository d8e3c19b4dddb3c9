"""The log of a run: one line per decision on stderr, without credentials; libraries say only what went wrong."""

import logging
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from pipeline.uris import redact_text

LOG = logging.getLogger("adapttoken")
LEVELS = ("debug", "info", "warning", "error")
_CHATTY = (
    "botocore",
    "aiobotocore",
    "aiohttp",
    "s3fs",
    "fsspec",
    "urllib3",
    "asyncio",
    "transformers",
    "huggingface_hub",
)


class _Redaction(logging.Formatter):
    """``14:02:31 INFO run …``; what may carry credentials is cut from every message."""

    def __init__(self, stream: TextIO, secrets: Sequence[str]) -> None:
        clear_bar = "\r\033[K" if stream.isatty() else ""
        super().__init__(f"{clear_bar}%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        text = redact_text(super().format(record))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def configure_logging(level: str, *, secrets: Sequence[str] = ()) -> None:
    """Send this project's log to stderr.

    Args:
        level: one of `LEVELS`.
        secrets: texts that are never shown.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redaction(sys.stderr, secrets))
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    LOG.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    if level != "debug":
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
