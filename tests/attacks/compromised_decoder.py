"""A decoding process that a video has taken over: in place of a probe it tries every door and reports which were open.

Everything before that is the product's own: how it is started, what it loads, how it is confined, how it is asked.
"""

import ctypes
import json
import mmap
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.failures import FailureClass, PipelineError
from pipeline.sandbox.kernel import this_machine
from pipeline.video import decode_process
from pipeline.video.video_file import open_file

SYS = {  # of calls that only an attacker makes: x86-64, aarch64
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "memfd_create": (319, 279),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "perf_event_open": (298, 241),
    "pidfd_open": (434, 434),
    "shmget": (29, 194),
    "fcntl": (72, 25),
}
PERF_EVENT = ctypes.create_string_buffer(b"\1" + bytes(3) + b"\x80" + bytes(123))
PTRACE_SEIZE, F_SETOWN, NEW_USER, NEW_NETWORK, KEYRING = 0x4206, 8, 0x10000000, 0x40000000, -3
Facts = dict[str, Any]


def call(name: str, *arguments: Any) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(libc.syscall(ctypes.c_long(SYS[name][this_machine().column]), *numbers))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_parent_memory(facts: Facts) -> None:
    into = ctypes.create_string_buffer(16)
    mine = _Vector(ctypes.addressof(into), 16)
    theirs = _Vector(facts["address"], 16)
    call("process_vm_readv", facts["parent"], ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)


def read(path: str) -> None:
    Path(path).read_bytes()


def overwrite(facts: Facts) -> None:
    with open(facts["result"], "r+b") as file:
        file.write(b"forged")


def connect(kind: int, family: int, address: Any) -> None:
    with socket.socket(family, kind) as client:
        client.connect(address)
        client.send(b"out")


def set_owner(facts: Facts) -> None:
    call("fcntl", 2, F_SETOWN, facts["parent"])


def map_code(_: Facts) -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def mount(facts: Facts) -> None:
    call("mount", b"none", facts["folder"].encode(), b"tmpfs", 0, 0)
    ctypes.CDLL(None).umount2(facts["folder"].encode(), 2)


def fork(_: Facts) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


DOORS: dict[str, Callable[[Facts], object]] = {
    "open a user's file": lambda facts: read(facts["secret"]),
    "overwrite a result": overwrite,
    "truncate a result": lambda facts: os.truncate(facts["result"], 1),
    "remove a result": lambda facts: os.unlink(facts["result"]),
    "make a file": lambda facts: (Path(facts["folder"]) / "planted").write_bytes(b""),
    "list a folder": lambda facts: os.listdir(facts["folder"]),
    "parent's environment": lambda facts: read(f"/proc/{facts['parent']}/environ"),
    "parent's memory file": lambda facts: os.close(os.open(f"/proc/{facts['parent']}/mem", os.O_RDWR)),
    "process_vm_readv": read_parent_memory,
    "ptrace": lambda facts: call("ptrace", PTRACE_SEIZE, facts["parent"], 0, 0),
    "signal the parent": lambda facts: os.kill(facts["parent"], 0),
    "signals by fcntl": set_owner,
    "parent's limits": lambda facts: resource.prlimit(facts["parent"], resource.RLIMIT_CORE),
    "parent's descriptors": lambda facts: call("pidfd_open", facts["parent"], 0),
    "unix socket": lambda facts: connect(socket.SOCK_STREAM, socket.AF_UNIX, facts["unix"]),
    "abstract socket": lambda facts: connect(socket.SOCK_STREAM, socket.AF_UNIX, "\0" + facts["abstract"]),
    "tcp": lambda facts: connect(socket.SOCK_STREAM, socket.AF_INET, ("127.0.0.1", facts["tcp"])),
    "udp": lambda facts: connect(socket.SOCK_DGRAM, socket.AF_INET, ("127.0.0.1", facts["udp"])),
    "fork": fork,
    "file in memory": lambda _: os.close(call("memfd_create", b"x", 0)),
    "code in memory": map_code,
    "mount": mount,
    "new namespaces": lambda _: call("unshare", NEW_USER | NEW_NETWORK),
    "keyctl": lambda _: call("keyctl", 0, KEYRING, 1),
    "bpf": lambda _: call("bpf", 0, ctypes.create_string_buffer(b"\2" + bytes(127)), 128),
    "io_uring": lambda _: os.close(call("io_uring_setup", 1, ctypes.create_string_buffer(120))),
    "perf events": lambda _: os.close(call("perf_event_open", PERF_EVENT, 0, -1, -1, 0)),
    "shared memory": lambda _: call("shmget", 0, 4096, 0o1600),
}  # fmt: skip
PROGRAM = "start a program"  # tried alone: who succeeds is no longer there to say so


def attack(path: str, **_: Any) -> None:
    """Raises what was found: door -> None where it was open, else what stopped it."""
    with open_file(path) as file:
        facts = json.loads(file.read(65_536))
    if facts.get("program"):
        os.execve("/bin/true", ["true"], {})
    found: dict[str, str | None] = {}
    for name, door in DOORS.items():
        try:
            door(facts)
        except OSError as error:
            found[name] = error.strerror or str(error)
        else:
            found[name] = None
    found["environment"] = "empty" if not os.environ else None
    raise PipelineError(FailureClass.UNSUPPORTED_MEDIA, json.dumps(found))


def main(options: str) -> None:
    """As ``decode_process.main``, with an attacker in place of the demuxer."""
    vars(decode_process)["probe_video"] = attack
    decode_process.main(options)
