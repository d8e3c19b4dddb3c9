"""Attack: a video has taken over the process that decodes it. Which doors are open from there?

    python tests/attacks/sandbox_doors.py                 all three places: root, nobody, a container without unshare
    python tests/attacks/sandbox_doors.py --place nobody  one of them
    python tests/attacks/sandbox_doors.py --layers none   without any sandbox; or some layers, as landlock,seccomp

Scripts of this folder print their figure and exit 0 when it holds. This one: doors that were open, of all; must be 0.
``pytest -m attack -n 0`` runs them all. The parent here is a real one: it owns files, listens on sockets, has secrets
in its environment and its memory. Before there was a sandbox (``--layers none``), 23 to 27 of 30 doors were open.
"""

import argparse
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from pipeline.failures import PipelineError  # noqa: E402
from pipeline.sandbox.kernel import prctl, syscall, this_machine  # noqa: E402
from pipeline.sandbox.layers import LAYERS  # noqa: E402
from pipeline.settings.config import ReadingConfig  # noqa: E402
from pipeline.video import decode_child  # noqa: E402
from pipeline.video.isolated import IsolatedReader  # noqa: E402
from tests.attacks.compromised_decoder import DOORS, PROGRAM  # noqa: E402

PLACES = ("root", "nobody", "container")
_NOBODY, _EPERM = 65_534, 1
_DUMPABLE, _KEEP_CAPABILITIES, _NO_NEW_PRIVS, _AMBIENT, _RAISE, _READ_AND_SEARCH = 4, 8, 38, 47, 2, 2
_REFUSED = {"unshare": (272, 97), "mount": (165, 40), "setns": (308, 268)}


def find_open_doors(layers: tuple[str, ...]) -> tuple[dict[str, str | None], str]:
    """(door -> what stopped it, None where it was open; layers in force), tried from a real decoding process."""
    decode_child._MODULE = "tests.attacks.compromised_decoder"
    secret = ctypes.create_string_buffer(b"secret in memory", 16)
    os.environ["AWS_SECRET_ACCESS_KEY"] = "secret in the environment"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        result, video = folder / "part-1.parquet", folder / "video.mp4"
        (folder / "secret").write_text("secret in a file")
        result.write_bytes(b"a result")
        unix, abstract, tcp, udp = (
            stack.enter_context(socket.socket(family, kind))
            for family, kind in (
                (socket.AF_UNIX, socket.SOCK_STREAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
                (socket.AF_INET, socket.SOCK_STREAM),
                (socket.AF_INET, socket.SOCK_DGRAM),
            )
        )
        addresses = (str(folder / "socket"), f"\0attack-{os.getpid()}", ("127.0.0.1", 0), ("127.0.0.1", 0))
        for one, address in zip((unix, abstract, tcp, udp), addresses, strict=True):
            one.bind(address)
        for one in (unix, abstract, tcp):
            one.listen()
        facts = {
            "parent": os.getpid(),
            "address": ctypes.addressof(secret),
            "secret": str(folder / "secret"),
            "result": str(result),
            "folder": str(folder),
            "unix": str(folder / "socket"),
            "abstract": f"attack-{os.getpid()}",
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
        }
        reader = IsolatedReader(ReadingConfig(), max_bad_frames_share=0.05, layers=layers)
        stack.callback(reader.close)
        video.write_text(json.dumps(facts))
        found = json.loads(_ask(reader, video).message)
        video.write_text(json.dumps(facts | {"program": True}))
        answer = _ask(reader, video)
        found[PROGRAM] = answer.message if "Error:" in answer.message else None  # else it ended as another program
        if found["overwrite a result"] and found["truncate a result"] and found["remove a result"]:
            assert result.read_bytes() == b"a result"
            assert not (folder / "planted").exists()
        assert found.keys() == {*DOORS, PROGRAM, "environment"}
        return found, reader.sandbox


def _ask(reader: IsolatedReader, video: Path) -> PipelineError:
    try:
        reader.probe(str(video))
    except PipelineError as error:
        return error
    raise AssertionError("the attack did not report")


def enter_place(place: str) -> None:
    """Make this process what a decoder's parent is there: root, a user, or root of a container."""
    if place == "nobody":
        _become_nobody()
    if place == "container":
        prctl(_NO_NEW_PRIVS, 1)
        _refuse_namespaces()


def _become_nobody() -> None:
    """An ordinary user, who may read Python and the project wherever they lie; the child gives that up."""
    prctl(_KEEP_CAPABILITIES, 1)
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    one = 1 << _READ_AND_SEARCH
    header = ctypes.create_string_buffer(struct.pack("<II", 0x20080522, 0), 8)
    syscall("capset", header, ctypes.create_string_buffer(struct.pack("<6I", one, one, one, 0, 0, 0), 24))
    prctl(_AMBIENT, _RAISE, _READ_AND_SEARCH)
    prctl(_DUMPABLE, 1)  # as a process is that this user has started


def _refuse_namespaces() -> None:
    """As the profiles of container runtimes do, for this process and all that it starts."""
    machine = this_machine()
    program = [(0x20, 0, 0, 0)]
    for numbers in _REFUSED.values():
        program += [(0x15, 0, 1, numbers[machine.column]), (0x06, 0, 0, 0x50000 | _EPERM)]
    program.append((0x06, 0, 0, 0x7FFF0000))
    packed = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in program))
    syscall(
        "seccomp", 1, 0, ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(packed)))
    )


def main() -> int:
    """Exit 0 when no door was open at any place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", choices=PLACES)
    parser.add_argument("--layers", default=",".join(LAYERS), help="or none")
    parser.add_argument("--json", action="store_true", help="door -> what stopped it")
    options = parser.parse_args()
    if options.place is None:
        places = PLACES if os.geteuid() == 0 else ("container",)
        command = [sys.executable, __file__, f"--layers={options.layers}"]
        return max(subprocess.run([*command, f"--place={place}"], check=False).returncode for place in places)
    enter_place(options.place)
    layers = () if options.layers == "none" else tuple(options.layers.split(","))
    found, in_force = find_open_doors(layers)
    if options.json:
        print(json.dumps([found, in_force]))
    else:
        opened = [name for name, stopped_by in found.items() if stopped_by is None]
        named = f": {', '.join(opened)}" if opened else ""
        print(f"{options.place}: {len(opened)} of {len(found)} doors open{named} (in force: {in_force})")
    return int(None in found.values())


if __name__ == "__main__":
    sys.exit(main())
