"""A network without interfaces and a root directory without files, where the kernel gives a process its own."""

import ctypes
import os
from contextlib import suppress

from pipeline.sandbox.kernel import check, libc, syscall

_MOUNTS, _MESSAGES, _USERS, _NETWORK = 0x00020000, 0x08000000, 0x10000000, 0x40000000
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_PROGRAMS = 1, 2, 4, 8
_REMOUNT, _WITH_ALL_BELOW, _PRIVATE, _DETACH = 32, 16_384, 1 << 18, 2
_BARE = _READ_ONLY | _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS
_HIDDEN = b"/proc"  # a directory that is always there


def leave_network() -> None:
    """As root directly; else as a user of an own user namespace, which also gives the right to ``leave_files``.

    Raises:
        OSError: Refused, as most containers do.
    """
    _unshare(_NETWORK | _MESSAGES)


def leave_files() -> None:
    """An empty, read-only root directory; after ``leave_network`` where the process is not root.

    Raises:
        OSError: Refused.
    """
    _unshare(_MOUNTS)
    _mount(None, b"/", None, _WITH_ALL_BELOW | _PRIVATE)
    _mount(b"none", _HIDDEN, b"tmpfs", _BARE & ~_READ_ONLY)
    os.chdir(_HIDDEN)
    here = ctypes.create_string_buffer(b".")
    try:
        syscall("pivot_root", here, here)
        check(libc().umount2(b".", _DETACH), "umount")
    except OSError:  # the first root of a machine cannot be moved
        os.chroot(".")
    os.chdir("/")
    with suppress(OSError):
        _mount(None, b"/", None, _REMOUNT | _BARE)


def _unshare(flags: int) -> None:
    if libc().unshare(flags) != 0:
        check(libc().unshare(_USERS | flags), "unshare")


def _mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int) -> None:
    check(libc().mount(source, target, kind, ctypes.c_ulong(flags), None), "mount")
