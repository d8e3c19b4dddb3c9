"""Where bulk data lies between workers: Ray's object store here, the serial executor's in ``local_store``."""

import time
from typing import Any, Protocol

import ray
from ray.exceptions import (
    GetTimeoutError,
    LocalRayletDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayActorError,
)

from pipeline.failures import FailureClass, PipelineError, StoreFullError

_TRANSFER_TIMEOUT_S = 300.0  # for some tens of megabytes, which may have to come back from a disk first
FULL_WAIT_S, _FULL_LOOK_S = 20.0, 1.0  # less than a decoder is waited for at least


class ObjectStore(Protocol):
    """Values travel as references; only who needs the value opens it."""

    def put(self, value: Any) -> Any:
        """Store a value; returns its reference."""
        ...

    def get(self, ref: Any) -> Any:
        """The value behind a reference; read-only."""
        ...


class RayStore:
    """Ray's shared memory. A reference is boxed, or Ray would open it when it is an argument."""

    def put(self, value: Any) -> Any:
        """See ``ObjectStore``; waits while store and disk are full, for those who read what lies there.

        Raises:
            StoreFullError: They stay so: it is nobody's fault, and fewer frames are made at a time.
        """
        until_s = time.monotonic() + FULL_WAIT_S
        while True:
            try:
                return [ray.put(value)]
            except (ObjectStoreFullError, OutOfDiskError) as error:
                if time.monotonic() > until_s:
                    message = (
                        f"Ray's object store on this node and the disk behind it have been full for {FULL_WAIT_S:g} s; "
                        "make room in Ray's temporary folder, or lower execution.frame_buffer_bytes"
                    )
                    raise StoreFullError(message) from error
                time.sleep(_FULL_LOOK_S)

    def get(self, ref: Any) -> Any:
        """See ``ObjectStore``.

        Raises:
            PipelineError: ``WORKER_LOST`` when the value went with the process or node that held it, or does not come
                from there.
        """
        try:
            return ray.get(ref[0], timeout=_TRANSFER_TIMEOUT_S)
        except (ObjectLostError, OutOfMemoryError, RayActorError, LocalRayletDiedError) as error:
            raise PipelineError(FailureClass.WORKER_LOST, f"an object went with its process: {error}") from error
        except GetTimeoutError as error:
            message = f"an object did not arrive from its node within {_TRANSFER_TIMEOUT_S:g} s"
            raise PipelineError(FailureClass.WORKER_LOST, message) from error
