"""Which system calls are left to a process that reads what it must not trust: memory, time, what it already holds.

A filter of the kernel's (seccomp, classic BPF), assembled here: the maintained binding, pyseccomp, needs the system's
libseccomp, which slim images lack, and no wheel carries it. Nothing that takes a path, names another process, or makes
a descriptor out of anything but one that is there, is allowed. What is refused fails with an error, and kills nothing.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from pipeline.sandbox.kernel import Processor, syscall, this_machine

_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data; six arguments of eight bytes, little endian
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_X32 = 0x40000000  # x86-64 numbers a second table of calls from here on
_PROT_EXEC, _AT_EMPTY_PATH, _CLONE_THREAD = 4, 0x1000, 0x10000
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW*: time, mounts, control groups, names, messages, users, processes, network
_HARMLESS_FCNTL = (0, 1, 2, 3, 1030)  # copy a descriptor, its flags; not who gets signals for it
Instruction = tuple[int, int, int, int]

HARMLESS = (
    *("read", "write", "readv", "writev", "pread64", "preadv", "lseek", "close", "fstat", "dup", "dup2", "dup3"),
    *("poll", "ppoll", "select", "pselect6", "recvmsg", "recvfrom", "getsockopt", "getsockname"),
    *("munmap", "mremap", "madvise", "brk", "futex", "membarrier", "rseq", "set_robust_list"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("clock_gettime", "clock_getres", "gettimeofday", "time", "times", "nanosleep", "clock_nanosleep"),
    *("getrandom", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrusage", "sysinfo", "uname"),
    *("sched_yield", "sched_getaffinity", "getcpu", "exit", "exit_group"),
)
_LOOKS_BY_PATH = (
    *("open", "openat", "access", "faccessat", "faccessat2", "stat", "lstat", "statx"),
    *("readlink", "readlinkat", "getcwd"),
)


def install_filter() -> None:
    """Confine all threads of this process, for good; ``no_new_privs`` must be set.

    Raises:
        OSError: This kernel, container or processor has no such filters.
    """
    program = assemble(this_machine(), pid=os.getpid())
    packed = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *instruction) for instruction in program))
    header = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(packed)))
    syscall("seccomp", _SET_MODE_FILTER, _ALL_THREADS, header)


def assemble(machine: Processor, *, pid: int) -> list[Instruction]:
    """The filter: (code, jump if true, jump if false, value) per instruction."""
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, machine.audit_arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NR),
        (_JUMP_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for name in HARMLESS:
        program += _on(machine, name, [_answer(0)])
    no_code = [*_load_low(2), (_JUMP_BITS, 0, 1, _PROT_EXEC), _answer(errno.EACCES), _answer(0)]
    rules = {
        "mmap": no_code,
        "mprotect": no_code,
        "newfstatat": [*_load_low(3), (_JUMP_BITS, 1, 0, _AT_EMPTY_PATH), _answer(errno.EACCES), _answer(0)],
        "fcntl": [*_load_low(1), *_one_of(_HARMLESS_FCNTL), _answer(errno.EPERM)],
        "tgkill": [*_load_low(0), *_one_of((pid,)), _answer(errno.EPERM)],  # itself: how ``abort`` ends
        "prlimit64": [*_is_zero(0), *_is_zero(2), _answer(0)],  # its own limits, to be read
        "clone": [
            *_load_low(0),
            (_JUMP_BITS, 0, 2, _CLONE_THREAD),
            (_JUMP_BITS, 1, 0, _NEW_NAMESPACES),
            _answer(0),
            _answer(errno.EPERM),
        ],
        "clone3": [_answer(errno.ENOSYS)],  # its flags lie in memory; the C library takes ``clone`` instead
        "ioctl": [_answer(errno.ENOTTY)],
        **{name: [_answer(errno.EACCES)] for name in _LOOKS_BY_PATH},
    }
    for name, rule in rules.items():
        program += _on(machine, name, rule)
    return [*program, _answer(errno.EPERM)]


def _on(machine: Processor, name: str, rule: Sequence[Instruction]) -> list[Instruction]:
    number = machine.number(name)
    return [] if number is None else [(_JUMP_EQUAL, 0, len(rule), number), *rule]


def _answer(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | error if error else _ALLOW)


def _load_low(argument: int) -> list[Instruction]:
    """The lower four bytes of an argument; what the kernel reads of an ``int``."""
    return [(_LOAD, 0, 0, _ARGS + 8 * argument)]


def _one_of(values: Sequence[int]) -> list[Instruction]:
    return [one for value in values for one in ((_JUMP_EQUAL, 0, 1, value), _answer(0))]


def _is_zero(argument: int) -> list[Instruction]:
    """Refuse unless all eight bytes of an argument are zero."""
    halves = (_ARGS + 8 * argument, _ARGS + 8 * argument + 4)
    return [one for at in halves for one in ((_LOAD, 0, 0, at), (_JUMP_EQUAL, 1, 0, 0), _answer(errno.EPERM))]
