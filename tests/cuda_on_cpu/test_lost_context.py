"""A CUDA context that is lost in the middle: the process ends at once, and another does what it held."""

import pytest

from pipeline.failures import FailureClass
from tests.cuda_on_cpu.breakage import DOWNLOAD, EVENT, KERNEL, UPLOAD, WAIT
from tests.cuda_on_cpu.processes import Hardware, Processes, cpu_model
from tests.cuda_on_cpu.worker_job import run_job

HARDWARE = Hardware()
ASKED = (("short", "Which one ?", None), ("shorter", "What color is the circle ?", ("red", "blue")))
PLACES = {
    "a launch": (KERNEL, "Adapter.prefill", False),
    "a launch ahead": (KERNEL, "ModelWorker._queue", False),
    "an upload": (UPLOAD, "FrameUpload.__init__", False),
    "an upload ahead": (UPLOAD, "ModelWorker._queue", False),
    "a download": (DOWNLOAD, "first_tokens", False),
    "a kernel told by who reads": (KERNEL, "launch_group", True),
    "a kernel ahead told by who reads": (KERNEL, "ModelWorker._queue", True),
    "the timer": (WAIT, "DeviceTimer.seconds", False),
    "a border of the timer": (EVENT, "DeviceTimer._now", False),
    "dropping candidates": (UPLOAD, "ScorerActor.retain", False),
    "a gather": (DOWNLOAD, "ScorerActor.gather", False),
    "removal": (KERNEL, "remove_redundant", False),
    "an answer's token": (WAIT, "extend_greedily", False),
    "the final pass": (KERNEL, "AnswererActor.answer", False),
}
BY_DEFAULT = ("a launch ahead", "an upload", "a kernel told by who reads", "dropping candidates", "a gather", "removal")


@pytest.fixture(scope="module")
def expected():
    return run_job(cpu_model(HARDWARE.family, HARDWARE.dtype), Processes(hardware=HARDWARE).on_gpus, asked=ASKED).rows


def without_turn(keys):
    return {key[:-1] for key in keys}


def check(where, expected):
    kind, inside, is_late = PLACES[where]

    def break_the_first(number, machine):
        if number == 0:
            machine.breakage.arm(kind, inside=inside, is_late=is_late)

    processes = Processes(hardware=HARDWARE, prepare=break_the_first)
    run = run_job(cpu_model(HARDWARE.family, HARDWARE.dtype), processes.on_gpus, asked=ASKED)
    broken, sound = processes.machines
    (lost,) = run.lost
    assert lost.failure_class is FailureClass.WORKER_LOST
    assert lost.message == (
        "a worker lost its GPU (AcceleratorError: CUDA error: an illegal memory access was encountered)"
    )
    assert broken.breakage.num_refused == 1  # the process asks nothing more of its GPU
    assert sound.journal.faults == []
    in_hand = set(run.handed_out["scorer-0"]) - set(run.reported["scorer-0"])
    assert without_turn(in_hand) <= without_turn(run.reported["scorer-1"])
    assert run.rows == expected
    return in_hand


@pytest.mark.parametrize("where", BY_DEFAULT)
def test_the_process_ends_and_another_gives_the_same_rows(where, expected):
    in_hand = check(where, expected)
    assert in_hand or where == "dropping candidates"  # which belongs to no piece of work


@pytest.mark.slow
@pytest.mark.parametrize("where", [where for where in PLACES if where not in BY_DEFAULT])
def test_so_does_it_wherever_the_context_is_lost(where, expected):
    assert check(where, expected)
