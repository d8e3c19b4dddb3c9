"""The whole worker over simulated GPUs: the rows of the CPU, no fault of order, and the host waits where the list says.

Two videos, five questions, open and closed; batches of groups that are queued ahead, upload to answer.
"""

from functools import cache
from itertools import product
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from tests.cuda_on_cpu.allowed_waits import ALLOWED, UNITS, compare_waits, counted_units
from tests.cuda_on_cpu.processes import Hardware, Processes, cpu_model
from tests.cuda_on_cpu.worker_job import run_job

FLOAT, HALF = torch.float32, torch.bfloat16
BY_DEFAULT = (
    Hardware(family="qwen2_5_vl", dtype=FLOAT),
    Hardware(family="qwen2_5_vl", dtype=HALF, num_devices=2, has_flash=True),
    Hardware(family="qwen3_vl", dtype=HALF, num_devices=2),
    Hardware(family="internvl", dtype=HALF),
)
ALL = [
    Hardware(family=family, dtype=dtype, num_devices=number, has_flash=flash)
    for family, dtype, number, flash in product(
        ("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "internvl"), (FLOAT, HALF), (1, 2), (False, True)
    )
    if not flash or (dtype is HALF and family != "internvl")  # kernels for 16 bits; InternVL's tower has no windows
]
LONGER = [hardware for hardware in ALL if hardware not in BY_DEFAULT]


@cache
def on_the_cpu(family, dtype, has_flash):
    """Rows, and how often the job does what a wait may belong to."""
    hardware = Hardware(family=family, dtype=dtype, has_flash=has_flash)
    with counted_units() as units:
        run = run_job(cpu_model(family, dtype), Processes(hardware=hardware).on_the_cpu)
    return run.rows, MappingProxyType(dict(units))


def close(one, other):
    """Equal, numbers within 1e-6; shares of attention are kept to 8 significant bits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name]) for name in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(close, one, other))
    return one == (pytest.approx(other, abs=1e-6) if isinstance(other, float) else other)


def check(hardware):
    expected, units = on_the_cpu(hardware.family, hardware.dtype, hardware.has_flash)
    processes = Processes(hardware=hardware)
    run = run_job(cpu_model(hardware.family, hardware.dtype), processes.on_gpus)
    (machine,) = processes.machines
    assert run.lost == []
    assert machine.journal.faults == []
    assert [row["status"] for row in expected] == ["ok"] * 5
    assert all(close(one, other) for one, other in zip(run.rows, expected, strict=True))
    apart = hardware.num_devices == 2 and hardware.family == "qwen2_5_vl"  # four layers: the second is on the first GPU
    assert compare_waits(machine.journal, units, num_devices=hardware.num_devices, outputs_apart=apart) == []


@pytest.mark.parametrize("hardware", BY_DEFAULT, ids=str)
def test_rows_are_those_of_the_cpu_and_the_host_waits_where_the_list_allows_it(hardware):
    check(hardware)


@pytest.mark.slow
@pytest.mark.parametrize("hardware", LONGER, ids=str)
def test_so_do_all_families_types_and_numbers_of_gpus(hardware):
    check(hardware)


def test_the_job_does_everything_that_a_wait_may_belong_to():
    _, units = on_the_cpu("internvl", HALF, has_flash=False)
    assert units.keys() == UNITS.keys()
    assert units["group"] == 7
    assert units["micro-batch"] == 4 * 2 + 3  # three questions in batches of two, and two
    assert units["question"] == units["removal"] == 5


def test_the_documents_name_every_wait_that_is_allowed():
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    assert [wait.place for wait in ALLOWED if f"`{wait.place}`" not in text] == []
