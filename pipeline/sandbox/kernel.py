"""System calls that Python has no function for, by name, on x86-64 and aarch64 Linux."""

import ctypes
import os
import platform
import sys
from dataclasses import dataclass

_OTHER_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}
# name -> number on x86_64, on aarch64 (None: it has no such call there); from the kernel's unistd headers
SYSCALLS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "lseek": (8, 62),
    "close": (3, 57),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "ppoll": (271, 73),
    "poll": (7, None),
    "select": (23, None),
    "pselect6": (270, 72),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getrandom": (318, 278),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "uname": (63, 160),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "restart_syscall": (219, 128),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "membarrier": (324, 283),
    "getcpu": (309, 168),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "fcntl": (72, 25),
    "recvmsg": (47, 212),
    "recvfrom": (45, 207),
    "getsockopt": (55, 209),
    "getsockname": (51, 204),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
    "clone": (56, 220),
    "clone3": (435, 435),
    "ioctl": (16, 29),
    "open": (2, None),
    "openat": (257, 56),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "stat": (4, None),
    "lstat": (6, None),
    "statx": (332, 291),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getcwd": (79, 17),
    "capget": (125, 90),
    "capset": (126, 91),
    "pivot_root": (155, 41),
    "seccomp": (317, 277),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
}


@dataclass(frozen=True, slots=True)
class Processor:
    """What the kernel calls this processor, and the number by which filters know it."""

    name: str
    audit_arch: int
    column: int

    def number(self, syscall: str) -> int | None:
        """Of a system call; None where there is no such call."""
        return SYSCALLS[syscall][self.column]


MACHINES = {"x86_64": Processor("x86_64", 0xC000003E, 0), "aarch64": Processor("aarch64", 0xC00000B7, 1)}


def this_machine() -> Processor:
    """The processor of this process.

    Raises:
        OSError: Another system or processor: nothing here applies to it.
    """
    name = platform.machine().lower()
    machine = MACHINES.get(_OTHER_NAMES.get(name, name))
    if not sys.platform.startswith("linux") or machine is None or sys.maxsize < 2**32:
        raise OSError(f"unknown system {sys.platform} on {name}")
    return machine


def libc() -> ctypes.CDLL:
    """The C library, with ``errno``."""
    return ctypes.CDLL(None, use_errno=True)


def syscall(name: str, *arguments: int | ctypes.Array[ctypes.c_char]) -> int:
    """Make one system call.

    Raises:
        OSError: Its ``errno``.
    """
    call = libc().syscall
    call.restype = ctypes.c_long
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    number = this_machine().number(name)
    assert number is not None, name
    return check(call(ctypes.c_long(number), *converted), name)


def prctl(option: int, *arguments: int) -> int:
    """``prctl(2)``.

    Raises:
        OSError: Its ``errno``.
    """
    padded = [*arguments, 0, 0, 0, 0][:4]
    return check(libc().prctl(ctypes.c_int(option), *map(ctypes.c_ulong, padded)), f"prctl {option}")


def check(result: int, name: str) -> int:
    """The result of a call of the C library.

    Raises:
        OSError: It is negative.
    """
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result
