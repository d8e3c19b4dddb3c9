"""The sandbox as a whole: layers, each of which the kernel may refuse, and what must be there when it is required."""

import json
import os
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.sandbox.landlock import confine
from pipeline.sandbox.namespaces import leave_files, leave_network
from pipeline.sandbox.privileges import (
    Limits,
    be_first_to_go,
    die_with,
    gain_nothing_by_programs,
    give_up_privileges,
    set_limits,
)
from pipeline.sandbox.seccomp import install_filter

LIMITS, NETWORK, MOUNTS = "limits", "network", "mounts"
PRIVILEGES, LANDLOCK, SECCOMP = "privileges", "landlock", "seccomp"
LAYERS = (LIMITS, NETWORK, MOUNTS, PRIVILEGES, LANDLOCK, SECCOMP)
OFF = "off"
# One of each line is enough to close all doors: the filter alone does, the others hold should it have a gap.
_NEEDED = ((LIMITS,), (PRIVILEGES,), (SECCOMP,), (LANDLOCK, MOUNTS))
_OF_ONE_THREAD = (PRIVILEGES, LANDLOCK)  # the kernel does not put these on others of the process
_REMEDY = (
    "run it where the kernel and the container allow them (Linux 5.13, x86-64 or aarch64; a seccomp profile that lets "
    "processes confine themselves), or set reading.sandbox=auto"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxReport:
    """What holds a process: layer -> detail, and what does not: layer -> reason. Both empty: it is off."""

    in_force: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """For a row: the layers in force, in the order of their names.

        Example: ``landlock+limits+mounts+network+privileges+seccomp``
        """
        return "+".join(sorted(self.in_force)) or OFF

    @property
    def lack(self) -> str:
        """What is not there, in words; empty when all is.

        Example: ``mounts (unshare: Operation not permitted)``
        """
        return ", ".join(f"{name} ({reason})" for name, reason in self.missing.items())

    def refusal(self) -> str | None:
        """What to say where a sandbox is required and this is less than one; None where it is enough."""
        gaps = [" or ".join(line) for line in _NEEDED if not self.in_force.keys() & set(line)]
        if not gaps:
            return None
        return f"reading.sandbox=require: there is no {', no '.join(gaps)} here ({self.lack}); {_REMEDY}"

    def pack(self) -> bytes:
        """For the parent."""
        return json.dumps([self.in_force, self.missing]).encode()


def unpack_report(packed: bytes) -> SandboxReport:
    """The inverse of ``pack``.

    Raises:
        ValueError: This is none.
    """
    in_force, missing = json.loads(packed)
    return SandboxReport(in_force=dict(in_force), missing=dict(missing))


def enter_sandbox(*, parent: int, limits: Limits, layers: Collection[str] = LAYERS) -> SandboxReport:
    """Confine this process for good; all that it will ever need must have been imported, and it has one thread.

    Args:
        parent: process id; this process ends with it.
        limits: of its resources.
        layers: to try; fewer than all only to look at each alone.
    """
    in_force: dict[str, str] = {}
    missing: dict[str, str] = {}
    steps: dict[str, Callable[[], str | None]] = {
        LIMITS: lambda: set_limits(limits),
        NETWORK: leave_network,
        MOUNTS: leave_files,
        PRIVILEGES: give_up_privileges,
        LANDLOCK: confine,
        SECCOMP: install_filter,
    }
    if not sys.platform.startswith("linux"):
        return SandboxReport(missing=dict.fromkeys(layers, f"not on {sys.platform}"))
    num_threads = _count_threads()
    for early in (be_first_to_go, gain_nothing_by_programs):  # without the latter the last two layers are refused
        with suppress(OSError):
            early()
    for name in LAYERS:
        if name == SECCOMP:
            die_with(parent)  # forgotten by the kernel when a process changes its user
        if name not in layers:
            continue
        try:
            detail = steps[name]() or ""
        except OSError as error:
            missing[name] = str(error.strerror or error)
            continue
        if name in _OF_ONE_THREAD and num_threads != 1:
            missing[name] = f"{num_threads} threads ran already"
        else:
            in_force[name] = detail
    return SandboxReport(in_force=in_force, missing=missing)


def _count_threads() -> int:
    """Of this process, native ones included; 0 where nobody can tell."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0
