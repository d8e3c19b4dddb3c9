"""No file, no TCP, no signal and no socket outside: Landlock, which any process may put on itself (Linux 5.13)."""

import ctypes
import os
import struct

from pipeline.sandbox.kernel import syscall

_ASK_VERSION = 1
_FILES_AT = {1: 13, 2: 14, 3: 15, 5: 16}  # version -> how many rights on files it knows; numbered from bit 0 on
_TCP_SINCE, _TCP = 4, 0b11  # bind, connect
_SCOPES_SINCE, _SCOPES = 6, 0b11  # abstract unix sockets and signals of others


def landlock_version() -> int:
    """Of this kernel's.

    Raises:
        OSError: It has none, or it is switched off.
    """
    return syscall("landlock_create_ruleset", 0, 0, _ASK_VERSION)


def ruleset(version: int) -> bytes:
    """Everything that a version can take away, as the kernel's struct."""
    num_files = max(count for since, count in _FILES_AT.items() if since <= version)
    packed = struct.pack("<Q", (1 << num_files) - 1)
    if version >= _TCP_SINCE:
        packed += struct.pack("<Q", _TCP)
    if version >= _SCOPES_SINCE:
        packed += struct.pack("<Q", _SCOPES)
    return packed


def confine() -> str:
    """Take all of it from this thread and those it starts, with no exception; ``no_new_privs`` must be set.

    Descriptors that are open already stay usable.

    Returns:
        What it covers here.

    Raises:
        OSError: As ``landlock_version``.
    """
    version = landlock_version()
    packed = ruleset(version)
    descriptor = syscall("landlock_create_ruleset", ctypes.create_string_buffer(packed, len(packed)), len(packed), 0)
    try:
        syscall("landlock_restrict_self", descriptor, 0)
    finally:
        os.close(descriptor)
    return f"version {version}"
