"""The filter as a program: what it answers, on both processors, by an interpreter of our own."""

import errno
import re
from pathlib import Path

import pytest

from pipeline.sandbox.kernel import MACHINES, SYSCALLS
from pipeline.sandbox.landlock import ruleset
from pipeline.sandbox.seccomp import HARMLESS, assemble

ALLOWED, KILLED = "allowed", "killed"
PID = 4_321
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h",),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
GENERIC = {"fcntl": 25, "fstat": 80, "lseek": 62, "mmap": 222, "newfstatat": 79}  # behind macros in that header
THREAD = 0x3D0F00  # as the C library starts one


def ask(program, machine, number, *arguments, arch=None):
    """Run a filter over one call, as linux/filter.h defines it."""
    words = [number, machine.audit_arch if arch is None else arch, 0, 0]
    for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]:
        words += [argument & 0xFFFFFFFF, argument >> 32 & 0xFFFFFFFF]
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x20:
            accumulator = words[value // 4]
        elif code == 0x06:
            kind, data = value & 0x7FFF0000, value & 0xFFFF
            return KILLED if value == 0x80000000 else ALLOWED if kind == 0x7FFF0000 else data
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += if_true if holds else if_false


@pytest.fixture(params=sorted(MACHINES))
def asked(request):
    machine = MACHINES[request.param]
    program = assemble(machine, pid=PID)
    assert len(program) < 4_096
    assert all(0 <= jump < 256 for _, if_true, if_false, _ in program for jump in (if_true, if_false))
    return lambda name, *arguments: ask(program, machine, machine.number(name), *arguments)


def test_what_a_reader_needs_is_allowed_on_both_processors(asked, request):
    machine = MACHINES[request.node.callspec.params["asked"]]
    for name in HARMLESS:
        if machine.number(name) is not None:
            assert asked(name) == ALLOWED, name


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("mmap", (0, 4096, 3), ALLOWED),
        ("mmap", (0, 4096, 7), errno.EACCES),
        ("mprotect", (0, 4096, 1), ALLOWED),
        ("mprotect", (0, 4096, 5), errno.EACCES),
        ("newfstatat", (3, 1, 1, 0x1000), ALLOWED),
        ("newfstatat", (-100, 1, 1, 0), errno.EACCES),
        ("openat", (-100, 1, 0), errno.EACCES),
        ("fcntl", (3, 1030), ALLOWED),
        ("fcntl", (3, 8), errno.EPERM),  # F_SETOWN: signals for somebody else
        ("fcntl", (3, 1033), errno.EPERM),
        ("tgkill", (PID, PID, 6), ALLOWED),
        ("tgkill", (1, 1, 9), errno.EPERM),
        ("prlimit64", (0, 7, 0), ALLOWED),
        ("prlimit64", (1, 7, 0), errno.EPERM),
        ("prlimit64", (0, 7, 1), errno.EPERM),
        ("prlimit64", (0, 7, 1 << 40), errno.EPERM),
        ("clone", (THREAD,), ALLOWED),
        ("clone", (17,), errno.EPERM),  # SIGCHLD alone: a process
        ("clone", (THREAD | 0x10000000,), errno.EPERM),  # with an own user namespace
        ("clone3", (), errno.ENOSYS),
        ("ioctl", (0, 0x5401), errno.ENOTTY),
        ("pivot_root", (), errno.EPERM),
        ("seccomp", (), errno.EPERM),
    ],
)
def test_what_depends_on_arguments(asked, name, arguments, answer):
    assert asked(name, *arguments) == answer


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_calls_of_another_processor_and_of_the_second_table_are_killed(name):
    machine = MACHINES[name]
    program = assemble(machine, pid=PID)
    other = next(one for one in MACHINES.values() if one is not machine)
    assert ask(program, machine, 0, arch=other.audit_arch) == KILLED
    assert ask(program, machine, 0x40000000 + 1) == KILLED
    assert ask(program, machine, 999) == errno.EPERM


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_numbers_are_those_of_the_kernels_headers(name):
    header = next((Path(path) for path in HEADERS[name] if Path(path).is_file()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed")
    found = {key: int(value) for key, value in re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text())}
    found |= GENERIC if name == "aarch64" else {}
    numbers = {call: MACHINES[name].number(call) for call in SYSCALLS}
    assert numbers == {call: found.get(call) for call in SYSCALLS}


@pytest.mark.parametrize(
    ("version", "num_bytes", "files"),
    [(1, 8, 13), (2, 8, 14), (3, 8, 15), (4, 16, 15), (5, 16, 16), (6, 24, 16), (9, 24, 16)],
)
def test_landlock_asks_each_version_for_all_that_it_knows(version, num_bytes, files):
    packed = ruleset(version)
    assert len(packed) == num_bytes
    assert int.from_bytes(packed[:8], "little") == 2**files - 1
