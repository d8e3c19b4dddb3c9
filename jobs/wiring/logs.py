"""The log of a run: one line per decision on stderr, without credentials; libraries say only what went wrong."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.uris import redact_text

LOG = logging.getLogger("adapttoken")
LEVELS = ("debug", "info", "warning", "error")
FORMS = ("text", "json")
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
    """``2026-11-30 14:02:31 INFO run …``; what may carry credentials is cut from every message."""

    def __init__(self, secrets: Sequence[str], *, before: str = "") -> None:
        super().__init__(f"{before}%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return self.redact(super().format(record))

    def redact(self, text: str) -> str:
        """Cut credentials."""
        text = redact_text(text)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class _JsonLines(_Redaction):
    """One JSON object per event: ``time`` (UTC), ``level``, ``logger``, ``message``, and a ``traceback`` if any."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.redact(record.getMessage()),
        }
        if record.exc_info:
            event["traceback"] = self.redact(self.formatException(record.exc_info))
        return json.dumps(event, ensure_ascii=False)


class LogLines(io.StringIO):
    """A stream whose lines become events of the log: for what else is written beside it, such as progress."""

    def write(self, text: str) -> int:
        """Whole lines only."""
        for line in text.splitlines():
            LOG.info("%s", line)
        return len(text)

    def isatty(self) -> bool:
        """Nothing is drawn on it."""
        return False


def configure_logging(level: str, *, form: str = "text", secrets: Sequence[str] = ()) -> None:
    """Send this project's log to stderr.

    Args:
        level: one of `LEVELS`.
        form: one of `FORMS`.
        secrets: texts that are never shown.
    """
    handler = logging.StreamHandler(sys.stderr)
    clear_bar = "\r\033[K" if sys.stderr.isatty() else ""
    handler.setFormatter(_JsonLines(secrets) if form == "json" else _Redaction(secrets, before=clear_bar))
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    LOG.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    if level != "debug":
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
