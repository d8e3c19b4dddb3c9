"""Which files and functions of the project one command really enters, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

_TRACER = """
import json, sys, threading
root, target, script, *arguments = sys.argv[1:]
entered = set()
def note(frame, event, argument):
    if event == "call":
        code = frame.f_code
        if code.co_filename.startswith(root) and code.co_name != "<module>":
            entered.add((code.co_filename[len(root):], code.co_qualname))
threading.setprofile(note)
sys.setprofile(note)
sys.argv = [script, *arguments]
import runpy
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
finally:
    sys.setprofile(None)
json.dump(sorted(entered), open(target, "w"))
"""


def measure_entered(root: Path, script: Path, arguments: list[str], *, work: Path) -> tuple[int, int]:
    """Files and functions of the checkout ``root`` entered by one command of it.

    Raises:
        RuntimeError: The command failed; the message holds what it said.
    """
    target = work / "entered.json"
    done = subprocess.run(
        [sys.executable, "-c", _TRACER, f"{root}/", str(target), str(script), *arguments],
        cwd=work,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{script} {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    entered = json.loads(target.read_text())
    return len({file for file, _ in entered}), len(entered)
