"""What a decoding process that was taken over can still reach: nothing, and what each layer alone holds back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.sandbox.landlock import landlock_version
from tests.attacks.sandbox_doors import PLACES

SCRIPT = Path(__file__).resolve().parents[2] / "attacks" / "sandbox_doors.py"
FILES = {"open a user's file", "overwrite a result", "truncate a result", "remove a result", "make a file"}
NETWORK = {"tcp", "abstract socket"}
PARENT = {"signal the parent", "ptrace", "process_vm_readv", "parent's environment", "parent's memory file"}
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="layers of Linux")


def try_doors(place, layers=None):
    """(door -> what stopped it, layers in force)."""
    command = [sys.executable, str(SCRIPT), f"--place={place}", "--json"]
    command += [f"--layers={layers}"] if layers else []
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.stdout, done.stderr
    found, in_force = json.loads(done.stdout)
    assert done.returncode == int(None in found.values())
    return found, in_force


def stopped(found):
    return {name for name, stopped_by in found.items() if stopped_by is not None}


@pytest.mark.parametrize("place", PLACES)
def test_every_door_is_shut_at_every_place(place):
    if place == "nobody" and os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    found, in_force = try_doors(place)
    assert {name: stopped_by for name, stopped_by in found.items() if stopped_by is None} == {}
    assert len(found) == 30
    if place == "container":
        assert in_force == "landlock+limits+privileges+seccomp"  # it refuses namespaces
    elif os.geteuid() == 0:
        assert {"limits", "privileges", "seccomp", "landlock"} <= set(in_force.split("+"))


def test_without_a_sandbox_the_doors_are_open_so_the_attack_is_one():
    found, in_force = try_doors("container", "none")
    assert in_force == "off"
    # what the user itself may do is open; what the container refuses, or a kernel lacks, may be shut
    assert not stopped(found) & (FILES | {"tcp", "udp", "unix socket", "signal the parent", "start a program", "fork"})


def test_the_filter_alone_shuts_every_door():
    found, in_force = try_doors("container", "seccomp")
    assert in_force == "seccomp"
    assert stopped(found) == set(found)


def test_landlock_alone_keeps_files_programs_and_the_parent():
    found, in_force = try_doors("container", "landlock")
    assert in_force == "landlock"
    expected = FILES | PARENT - ({"signal the parent"} if landlock_version() < 6 else set()) | {"start a program"}
    expected |= NETWORK if landlock_version() >= 6 else set()
    assert expected <= stopped(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="not every user may make namespaces")
def test_namespaces_alone_keep_files_and_network():
    found, in_force = try_doors("root", "network,mounts")
    if in_force != "mounts+network":
        pytest.skip("this container refuses namespaces")
    assert FILES | NETWORK | {"udp", "unix socket", "parent's environment"} <= stopped(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="root's own files are the point")
def test_root_without_privileges_is_nobody_who_may_not_touch_roots_files():
    found, in_force = try_doors("root", "privileges")
    assert in_force == "privileges"
    assert FILES | PARENT | {"mount", "bpf"} <= stopped(found)
