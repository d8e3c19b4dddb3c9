"""Starts a Python process that will confine itself: nothing of the parent's environment, no descriptor but those named.

What it imports comes from the parent's own path of modules, and is imported before it confines itself.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any

_BY_LOADER = "LD_LIBRARY_PATH"  # where shared libraries lie; the child forgets it once they are loaded
_START = (
    "import os, sys; os.environ['OMP_NUM_THREADS'] = '1'; sys.path[:] = sys.argv[3:]; "
    "from importlib import import_module; import_module(sys.argv[1]).main(sys.argv[2])"
)


def start_child(
    module: str, options: Mapping[str, Any], *, stderr: IO[bytes], descriptors: Sequence[int] = (), stdin: Any = None
) -> "subprocess.Popen[bytes]":
    """Run ``main`` of a module with ``options`` as JSON, and this process's id as ``parent`` among them."""
    text = json.dumps({**options, "parent": os.getpid()})
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _START, module, text, *map(os.path.abspath, sys.path)],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env={_BY_LOADER: os.environ[_BY_LOADER]} if _BY_LOADER in os.environ else {},
        cwd="/",
    )


def forget_environment() -> None:
    """In the child, when all libraries are loaded."""
    os.environ.clear()
