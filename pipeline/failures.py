"""Why a question failed: the closed list of classes, and the exception that carries one to the actor boundary."""

import sys
from dataclasses import dataclass
from enum import StrEnum


class FailureClass(StrEnum):
    """Closed list; the value is what ``error_class`` holds in the results."""

    NOT_FOUND = "not_found"
    ACCESS_DENIED = "access_denied"
    TRANSFER = "transfer"
    UNSUPPORTED_MEDIA = "unsupported_media"
    CORRUPT_MEDIA = "corrupt_media"
    DECODE_TIMEOUT = "decode_timeout"
    TOO_LARGE = "too_large"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_LOST = "worker_lost"
    MODEL = "model"
    INTERNAL = "internal"
    MANIFEST = "manifest"


RETRYABLE = frozenset(
    {
        FailureClass.NOT_FOUND,
        FailureClass.ACCESS_DENIED,
        FailureClass.TRANSFER,
        FailureClass.DECODE_TIMEOUT,
        FailureClass.OUT_OF_MEMORY,
        FailureClass.WORKER_LOST,
        FailureClass.INTERNAL,
    }
)
"""Circumstances, not verdicts: what the same work need not meet again, once planning has seen the video."""

STORAGE = frozenset({FailureClass.NOT_FOUND, FailureClass.ACCESS_DENIED, FailureClass.TRANSFER})
"""Of these, what a storage that is away answers."""

READING = STORAGE | {
    FailureClass.UNSUPPORTED_MEDIA,
    FailureClass.CORRUPT_MEDIA,
    FailureClass.DECODE_TIMEOUT,
    FailureClass.TOO_LARGE,
}
"""What only reading a video ends in: the video's own, also where a scorer read it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why one piece of work failed; travels back in place of a result.

    Attributes:
        found: fingerprint of the version that is there, where the video's file was replaced since it was planned.
        is_full: object store and disk stayed full: what is in flight has to become less.
    """

    failure_class: FailureClass
    message: str
    found: str | None = None
    is_full: bool = False

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt, on another worker, can end differently."""
        return self.failure_class in RETRYABLE

    @property
    def is_of_storage(self) -> bool:
        """Whether the storage may be to blame, and not the video."""
        return self.failure_class in STORAGE


class PipelineError(Exception):
    """A failure that knows its class; the message names the value and the remedy."""

    def __init__(self, failure_class: FailureClass, message: str) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.message = message

    def __reduce__(self) -> tuple[type, tuple[FailureClass, str]]:
        """Pickle with both arguments, so that the class survives the way between processes."""
        return (type(self), (self.failure_class, self.message))

    def to_failure(self) -> Failure:
        """The record that travels on."""
        return Failure(failure_class=self.failure_class, message=self.message)


class ReplacedError(PipelineError):
    """Another version of the video lies there than the one that was planned, which is gone."""

    def __init__(self, message: str, found: str) -> None:
        super().__init__(FailureClass.TRANSFER, message)
        self.found = found

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # type: ignore[override]
        """Pickle with its own arguments."""
        return (type(self), (self.message, self.found))

    def to_failure(self) -> Failure:
        """The record says which version there is."""
        return Failure(failure_class=self.failure_class, message=self.message, found=self.found)


class StoreFullError(PipelineError):
    """The object store of a node and the disk behind it have been full for a while: nobody's fault."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureClass.WORKER_LOST, message)

    def __reduce__(self) -> tuple[type, tuple[str]]:  # type: ignore[override]
        """Pickle with its own argument."""
        return (type(self), (self.message,))

    def to_failure(self) -> Failure:
        """The record says that it was this."""
        return Failure(failure_class=self.failure_class, message=self.message, is_full=True)


class OutageError(PipelineError):
    """The storage of the videos is away, or room for frames: nothing has failed, and the same command goes on."""


class DeviceLostError(PipelineError):
    """A worker's process can use its GPU no more: it has to end, so that another takes its place."""

    @classmethod
    def because(cls, error: BaseException) -> "DeviceLostError":
        """What the rows say, where the work is what breaks one process after the other."""
        reason = str(error).partition("\n")[0]
        return cls(FailureClass.WORKER_LOST, f"a worker lost its GPU ({type(error).__name__}: {reason})")


_CLIENT_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
    ("aiohttp", "ClientError"),
    ("requests.exceptions", "RequestException"),
)


def with_store_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """For an ``except``: ``others``, and what the clients of object stores raise beside them, where they are loaded.

    So a machine without a client runs everything that needs no such store, and importing a module loads no client.
    """
    found = (getattr(sys.modules.get(module), name, None) for module, name in _CLIENT_ERRORS)
    return (*others, *(error for error in found if error is not None))
