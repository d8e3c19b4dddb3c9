"""Several Ray nodes on this machine, to be killed: for tests and ``jobs/lab/chaos.py``; files and address shared."""

import os
import random
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster


class LocalNodes:
    """A head without CPUs, so that nothing but coordinators and drivers lives there, and worker nodes that may die."""

    def __init__(
        self, *, num_nodes: int, cpus_per_node: int, gpus_per_node: int = 0, dashboard_port: int | None = None
    ) -> None:
        """Start the head, then the others.

        Args:
            num_nodes: worker nodes.
            cpus_per_node: as Ray counts them; there may be fewer.
            gpus_per_node: likewise.
            dashboard_port: where jobs can be submitted; None starts no dashboard.
        """
        self._node_options: dict[str, Any] = {"num_cpus": cpus_per_node, "num_gpus": gpus_per_node}
        head: dict[str, Any] = {"num_cpus": 0, "include_dashboard": dashboard_port is not None}
        if dashboard_port is not None:
            head["dashboard_port"] = dashboard_port
        self._stopped: list[int] = []
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(num_nodes):
            self.add_node()

    @property
    def address(self) -> str:
        """For ``RAY_ADDRESS``."""
        return str(self._cluster.address)

    @property
    def num_nodes(self) -> int:
        """Worker nodes that are there."""
        return len(self._cluster.worker_nodes)

    def add_node(self) -> None:
        """One more worker node."""
        self._cluster.add_node(**self._node_options)

    def kill_node(self, rng: random.Random) -> None:
        """End a worker node with all its processes, without a word to anybody."""
        nodes = sorted(self._cluster.worker_nodes, key=_raylet_pid)
        self._cluster.remove_node(rng.choice(nodes), allow_graceful=False)

    def has_process(self, title: str) -> bool:
        """Whether there is a process whose title begins with ``ray::<title>``."""
        return any(True for _ in self._pids_of(title))

    def kill_process(self, title: str, rng: random.Random) -> bool:
        """SIGKILL one of the processes whose title begins with ``ray::<title>``; False when there is none."""
        return self._send(signal.SIGKILL, title, rng) is not None

    def stop_process(self, title: str, rng: random.Random) -> bool:
        """SIGSTOP one of them: it stays there and does nothing more."""
        victim = self._send(signal.SIGSTOP, title, rng)
        self._stopped += [] if victim is None else [victim]
        return victim is not None

    def end_stopped(self) -> None:
        """What was stopped and nobody could end."""
        for victim in self._stopped:
            if _is_stopped(victim):
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        self._stopped.clear()

    def _send(self, number: signal.Signals, title: str, rng: random.Random) -> int | None:
        """To one that runs; None where there is none."""
        victims = sorted(pid for pid in self._pids_of(title) if not _is_stopped(pid))
        if not victims:
            return None
        victim = rng.choice(victims)
        with suppress(ProcessLookupError):
            os.kill(victim, number)
            return victim
        return None

    def _pids_of(self, title: str) -> Iterator[int]:
        return find_workers(title, raylets={_raylet_pid(node) for node in self._cluster.list_all_nodes()})

    def close(self) -> None:
        """End all nodes; what is stopped would not hear of it."""
        self.end_stopped()
        self._cluster.shutdown()


@contextmanager
def local_nodes(**options: int) -> Iterator[LocalNodes]:
    """As ``LocalNodes``; they end with the block."""
    nodes = LocalNodes(**options)
    try:
        yield nodes
    finally:
        nodes.close()


def _raylet_pid(node: Any) -> int:
    (raylet,) = node.all_processes["raylet"]
    return int(raylet.process.pid)


def _is_stopped(pid: int) -> bool:
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def find_workers(title: str, *, raylets: Collection[int]) -> Iterator[int]:
    """Process ids of some raylets' workers whose title begins with ``ray::<title>``."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # it may have ended meanwhile
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) not in raylets:
                continue
            if (folder / "cmdline").read_bytes().decode(errors="replace").startswith(f"ray::{title}"):
                yield int(folder.name)
