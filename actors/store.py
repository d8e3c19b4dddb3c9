"""Where bulk data lies between workers: Ray's object store here, the serial executor's in ``local_store``."""

from typing import Any, Protocol

import ray
from ray.exceptions import GetTimeoutError, LocalRayletDiedError, ObjectLostError, OutOfMemoryError, RayActorError

from pipeline.failures import FailureClass, PipelineError

_TRANSFER_TIMEOUT_S = 300.0  # for some tens of megabytes, which may have to come back from a disk first


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
        """See ``ObjectStore``."""
        return [ray.put(value)]

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
