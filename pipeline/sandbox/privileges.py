"""What a process gives up of itself: its user where that is root, its capabilities, most of its resources."""

import ctypes
import math
import os
import resource
import signal
import struct
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from pipeline.sandbox.kernel import libc, prctl, syscall

NOBODY = 65_534
_DEATH_SIGNAL, _DROP_BOUND, _NO_NEW_PRIVS, _AMBIENT, _CLEAR_AMBIENT = 1, 24, 38, 47, 4
_CAPABILITIES_VERSION = 0x20080522
_OOM_SCORE = "/proc/self/oom_score_adj"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Beyond them a call fails or the process ends; the parent watches more closely, this holds where it cannot.

    Attributes:
        private_bytes: of memory, beyond what is held when the limits are set.
        cpu_s: of one process's whole life.
        written_bytes: of any one file; its messages are written to one.
    """

    private_bytes: int
    cpu_s: float
    written_bytes: int = 1024**2


def die_with(parent: int) -> None:
    """End when the parent does, which is asked once more: it may have gone before this was set."""
    prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def be_first_to_go() -> None:
    """Of all processes this one is killed first when the machine's memory is short.

    Raises:
        OSError: There is no /proc.
    """
    Path(_OOM_SCORE).write_text("1000")


def gain_nothing_by_programs() -> None:
    """No program that is started has more rights than this process (``no_new_privs``).

    Raises:
        OSError: Refused.
    """
    prctl(_NO_NEW_PRIVS, 1)


def set_limits(limits: Limits) -> None:
    """Set them for good: the hard ones, too. Processes are the filter's matter, as the kernel counts threads with them.

    Raises:
        OSError: Refused.
    """
    page, held = resource.getpagesize(), Path("/proc/self/statm").read_text().split()
    ceilings = {
        resource.RLIMIT_DATA: int(held[5]) * page + limits.private_bytes,
        resource.RLIMIT_CPU: math.ceil(limits.cpu_s),
        resource.RLIMIT_FSIZE: limits.written_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, ceiling in ceilings.items():
        most = resource.getrlimit(kind)[1]
        ceiling = ceiling if most == resource.RLIM_INFINITY else min(ceiling, most)
        resource.setrlimit(kind, (ceiling, ceiling))


def give_up_privileges() -> str:
    """No capability is left, none can be had by starting a program, and root becomes nobody.

    Returns:
        As whom it goes on.

    Raises:
        OSError: Refused.
    """
    if os.geteuid() == 0:
        _drop_bounding_set()
        _become_nobody()
    prctl(_AMBIENT, _CLEAR_AMBIENT)
    header = ctypes.create_string_buffer(struct.pack("<II", _CAPABILITIES_VERSION, 0), 8)
    syscall("capset", header, ctypes.create_string_buffer(24))
    gain_nothing_by_programs()
    return f"uid {os.geteuid()}"


def _drop_bounding_set() -> None:
    for capability in count():
        if libc().prctl(_DROP_BOUND, ctypes.c_ulong(capability), 0, 0, 0) != 0:
            return


def _become_nobody() -> None:
    """Where the container knows such a user; root without capabilities owns root's files all the same."""
    with suppress(OSError):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
