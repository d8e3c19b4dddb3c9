"""Where bulk data lies between workers: Ray's object store here, the serial executor's in ``local_store``."""

from typing import Any, Protocol

import ray
from ray.exceptions import ObjectLostError

from pipeline.failures import FailureClass, PipelineError


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
            PipelineError: ``WORKER_LOST`` when the value went with the process or node that held it.
        """
        try:
            return ray.get(ref[0])
        except ObjectLostError as error:
            raise PipelineError(FailureClass.WORKER_LOST, f"an object went with its process: {error}") from error
