"""What is said of a sandbox: in a row, in the log, and where one is required that is not there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.sandbox.layers import LAYERS, SandboxReport, unpack_report


def report(*names, missing=()):
    return SandboxReport(in_force=dict.fromkeys(names, ""), missing=dict.fromkeys(missing, "Operation not permitted"))


def test_a_row_names_the_layers_in_the_order_of_their_names():
    assert report("seccomp", "limits").summary == "limits+seccomp"
    assert report().summary == "off"


@pytest.mark.parametrize("files", ["landlock", "mounts"])
def test_one_way_of_keeping_files_is_enough(files):
    assert report("limits", "privileges", "seccomp", files, missing=("network",)).refusal() is None


@pytest.mark.parametrize(
    ("gone", "named"),
    [({"seccomp"}, "seccomp"), ({"privileges"}, "privileges"), ({"landlock", "mounts"}, "landlock or mounts")],
)
def test_what_is_required_and_missing_is_named_with_its_reason_and_a_remedy_in_one_line(gone, named):
    refusal = report(*(set(LAYERS) - gone), missing=gone).refusal()
    assert f"there is no {named} here" in refusal
    assert "Operation not permitted" in refusal
    assert "set reading.sandbox=auto" in refusal
    assert "\n" not in refusal


def test_a_report_comes_back_as_it_was_sent():
    sent = report("limits", missing=("network",))
    assert unpack_report(sent.pack()) == sent


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="layers of Linux")
@pytest.mark.parametrize(("num_others", "is_missing"), [(0, False), (2, True)])
def test_what_the_kernel_puts_on_one_thread_only_counts_only_where_there_is_one(num_others, is_missing):
    script = (
        "import os, sys, threading, time\n"
        "from pipeline.sandbox.layers import enter_sandbox\n"
        "from pipeline.sandbox.privileges import Limits\n"
        f"for _ in range({num_others}): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "layers = ('privileges', 'landlock')\n"
        "report = enter_sandbox(parent=os.getppid(), limits=Limits(private_bytes=2**30, cpu_s=60), layers=layers)\n"
        "os.write(1, report.pack())\n"
        "os._exit(0)\n"
    )
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environment)
    in_force, missing = json.loads(done.stdout)
    if is_missing:
        assert in_force == {}
        assert missing == dict.fromkeys(("privileges", "landlock"), "3 threads ran already")
    else:
        assert "privileges" in in_force
