"""The only module that starts or stops Ray."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray._private.state import state as global_state  # what Ray Data and Ray Train ask; there is no public way
from ray.exceptions import AuthenticationError

from cluster.placement import ClusterSize, NodeSize, PlacementError
from cluster.ray_watch import LOCAL_RAY, watch_ray

_SHUTDOWN_S = 30.0
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
    """
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    is_main_thread = threading.current_thread() is threading.main_thread()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    is_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    is_remote = address not in (None, "local") or "RAY_ADDRESS" in os.environ
    if is_job:
        ray.init(log_to_driver=False)
    elif is_remote:
        with _explained(address):
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
        PlacementError: It cannot be reached.
    """
    with _explained(address):
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    try:
        return cluster_size()
    finally:
        _shut_down()


@contextmanager
def _explained(address: str | None) -> Iterator[None]:
    """What is wrong with a cluster that is to be joined, in one line with what to type."""
    name = address or os.environ.get("RAY_ADDRESS") or "this job"
    try:
        yield
    except AuthenticationError as error:
        raise PlacementError(
            f"the Ray cluster at {name} wants a token: export RAY_AUTH_MODE=token, and on another machine than its "
            "head also RAY_AUTH_TOKEN=$(ssh HEAD ray get-auth-token)"
        ) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise PlacementError(
            f"the Ray cluster at {name} cannot be joined ({reason}); start one with ray start --head, export "
            "RAY_AUTH_MODE=token where it wants a token, or leave --address and RAY_ADDRESS away"
        ) from error


def _code() -> dict[str, object]:
    """What a cluster that this process joins from outside is sent: of a wheel not what is installed beside it."""
    return {"py_modules": [str(_HOME / __name__.partition(".")[0])]} if _IS_WHEEL else {"working_dir": str(_HOME)}


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
    nodes = tuple(NodeSize(num_cpus=found.get("CPU", 0.0), num_gpus=found.get("GPU", 0.0)) for found in resources)
    grown = global_state.get_max_resources_from_cluster_config() or {}
    return ClusterSize(nodes=nodes, max_cpus=float(grown.get("CPU", 0)), max_gpus=float(grown.get("GPU", 0)))
