"""The only module that starts or stops Ray."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import ray
from ray._private.state import state as global_state  # what Ray Data and Ray Train ask; there is no public way
from ray.exceptions import AuthenticationError

from cluster.placement import ClusterSize, NodeSize, PlacementError
from cluster.ray_watch import LOCAL_RAY, watch_ray
from pipeline.failures import FailureClass, PipelineError

_SHUTDOWN_S = 30.0
_KNOCK_S, _GREETING_S = 10.0, 30.0
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and empty settings
_is_stuck = threading.Event()
_log = logging.getLogger("adapttoken.ray")
_HOME = Path(__file__).resolve().parents[__name__.count(".")]
"""Where Python finds this project: the clone, or what a wheel was installed into."""
_IS_WHEEL = __name__.count(".") > 1


@contextmanager
def ray_session(
    *,
    num_cpus: int | None = None,
    address: str | None = None,
    object_store_bytes: int | None = None,
    on_lost: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Connect to the cluster this process belongs to (inside ``ray job submit``, or ``RAY_ADDRESS``), else start one.

    A local Ray shares this machine's files and gets an object store of ``object_store_bytes``, what exceeds it waits on
    disk; a cluster gets the clone, or the package of a wheel, shipped, unless the job has shipped it.

    ``on_lost`` is called in another thread when Ray itself hangs, with what to do: it has to end the process.

    Raises:
        PipelineError: Ray cannot be started, or not be reached; says what to do.
    """
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    is_main_thread = threading.current_thread() is threading.main_thread()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    is_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    is_remote = address not in (None, "local") or "RAY_ADDRESS" in os.environ
    with _Starting(is_local=not (is_job or is_remote), address=address):
        if is_job:
            ray.init(log_to_driver=False)
        elif is_remote:
            ray.init(address=address, log_to_driver=False, runtime_env=_code())
        else:
            ray.init(
                address="local",
                num_cpus=num_cpus,
                object_store_memory=_fit_memory(object_store_bytes),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                _system_config=LOCAL_RAY,
                runtime_env={} if _IS_WHEEL else {"env_vars": {"PYTHONPATH": str(_HOME)}},
            )
    if is_main_thread and on_sigterm is not None:
        signal.signal(signal.SIGTERM, on_sigterm)  # ray.init puts its own in place
    try:
        if on_lost is None:
            yield
        else:
            with watch_ray(on_lost):
                yield
    finally:
        _shut_down()


def look_at_cluster(address: str | None) -> ClusterSize:
    """Ask a running Ray what it has; nothing is started there, nothing is sent.

    Raises:
        PlacementError: It wants a token.
        PipelineError: It cannot be reached.
    """
    with _Starting(is_local=False, address=address):
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    try:
        return cluster_size()
    finally:
        _shut_down()


def _code() -> dict[str, object]:
    """What a cluster that this process joins from outside is sent: of a wheel not what is installed beside it."""
    return {"py_modules": [str(_HOME / __name__.partition(".")[0])]} if _IS_WHEEL else {"working_dir": str(_HOME)}


class _Starting:
    """Around ``ray.init``: whatever it raises, which may be a bare ``Exception``, means that there is no Ray."""

    def __init__(self, *, is_local: bool, address: str | None) -> None:
        self._is_local, self._address = is_local, address or os.environ.get("RAY_ADDRESS", "this job")

    def __enter__(self) -> None:
        """Knock first: Ray itself waits for an address that is not there, or hangs, for longer than anybody does.

        Raises:
            PipelineError: Nobody listens at the address, or who does says nothing.
        """
        host, colon, port = self._address.removeprefix("ray://").rpartition(":")
        if not self._is_local and colon and port.isdecimal():
            try:
                _knock(host.strip("[]"), int(port))
            except OSError as error:
                raise PipelineError(FailureClass.INTERNAL, self._unreachable(error)) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception):
            return
        _shut_down()  # what of it has started
        if isinstance(error, AuthenticationError):
            raise PlacementError(
                f"the Ray cluster at {self._address} wants a token: export RAY_AUTH_MODE=token, and on another machine "
                "than its head also RAY_AUTH_TOKEN=$(ssh HEAD ray get-auth-token)"
            ) from error
        if self._is_local:
            message = (
                f"Ray cannot start on this machine ({_reason(error)}). End what an earlier one has left (ray stop "
                "--force), look for free memory and room in /tmp, or run without it: --executor serial"
            )
        else:
            message = self._unreachable(error)
        raise PipelineError(FailureClass.INTERNAL, message) from error

    def _unreachable(self, error: Exception) -> str:
        return (
            f"the Ray cluster at {self._address} cannot be reached ({_reason(error)}). Check with ray status that it "
            "runs, that RAY_ADDRESS names it, and that Ray and Python have the same versions there; export "
            "RAY_AUTH_MODE=token where it wants a token, or leave --address and RAY_ADDRESS away"
        )


def _knock(host: str, port: int) -> None:
    """Greet as a gRPC client does: a server greets back at once, one that wants TLS hangs up.

    Raises:
        OSError: There is nobody, or he says nothing.
    """
    with socket.create_connection((host, port), _KNOCK_S) as connection:
        connection.settimeout(_GREETING_S)
        connection.sendall(_HTTP2_GREETING)
        try:
            connection.recv(1)
        except TimeoutError as error:
            raise TimeoutError(f"it listens but has not answered for {_GREETING_S:g} s") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _shut_down() -> None:
    """End this process's part in Ray, and a Ray that was started here; one that does not end is left behind."""
    ending = threading.Thread(target=ray.shutdown, daemon=True, name="ray-shutdown")
    ending.start()
    ending.join(_SHUTDOWN_S)
    if ending.is_alive():
        _log.warning("Ray has not ended within %g s and is left behind; ray stop --force ends it", _SHUTDOWN_S)
        _is_stuck.set()


def is_stuck() -> bool:
    """Whether a Ray was left behind: Python's own end would wait for it, so leave by ``os._exit``."""
    return _is_stuck.is_set()


def end_local_ray() -> None:
    """Kill a Ray that was started here, hung or not; one that was joined stays."""
    node = ray._private.worker._global_node
    if node is not None and node.head:
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=False)


def _fit_memory(wanted_bytes: int | None) -> int | None:
    """At most what Ray itself would take: 30 % of the memory, and 2 GB on macOS."""
    if wanted_bytes is None:
        return None
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(wanted_bytes, int(0.3 * machine_bytes), 2_000_000_000 if sys.platform == "darwin" else sys.maxsize)


def cluster_size() -> ClusterSize:
    """The connected cluster's nodes, and what its autoscaler, if it has one, may grow them to."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    nodes = tuple(
        NodeSize(
            num_cpus=found.get("CPU", 0.0),
            num_gpus=found.get("GPU", 0.0),
            store_bytes=found.get("object_store_memory", 0.0),
        )
        for found in resources
    )
    grown = global_state.get_max_resources_from_cluster_config() or {}
    return ClusterSize(nodes=nodes, max_cpus=float(grown.get("CPU", 0)), max_gpus=float(grown.get("GPU", 0)))
