"""What the simulated GPU is for: faults that a CPU never shows are put into the product, and each is found."""

import re

import torch

from pipeline.models.adapter import Adapter
from pipeline.models.devices import transfer
from pipeline.models.devices.timer import DeviceTimer
from pipeline.passes import group_pass
from pipeline.passes.candidates import GroupCandidates
from tests.cuda_on_cpu.allowed_waits import compare_waits, counted_units
from tests.cuda_on_cpu.processes import Hardware, Processes, cpu_model
from tests.cuda_on_cpu.worker_job import run_job

ASKED = (("shorter", "What color is the circle ?", ("red", "blue")),)


def run(num_devices=1):
    """Rows, the machine, and what differs from the list of waits."""
    hardware = Hardware(num_devices=num_devices)
    model, processes = cpu_model(hardware.family, hardware.dtype), Processes(hardware=hardware)
    with counted_units() as units:
        rows = run_job(model, processes.on_gpus, asked=ASKED).rows
    (machine,) = processes.machines
    return rows, machine, compare_waits(machine.journal, units, num_devices=num_devices)


def found(machine, pattern):
    return any(re.search(pattern, fault) for fault in machine.journal.faults)


def test_as_it_is_nothing_is_found():
    rows, machine, differences = run()
    assert [row["status"] for row in rows] == ["ok"]
    assert (machine.journal.faults, differences) == ([], [])


def test_frames_that_are_used_before_the_stream_of_copies_has_brought_them(monkeypatch):
    monkeypatch.setattr(transfer.FrameUpload, "wait", lambda upload: upload._frames)
    _, machine, _ = run()
    assert found(machine, r"stream 0:default uses what 0:\d wrote, without an order at pipeline/")


def test_frames_whose_memory_is_free_before_they_have_been_used(monkeypatch):
    def wait(upload):
        torch.cuda.current_stream(upload._frames.device).wait_stream(upload._stream)
        return upload._frames

    monkeypatch.setattr(transfer.FrameUpload, "wait", wait)
    _, machine, _ = run()
    assert found(machine, r"memory of stream 0:\d is freed while 0:default may use it")


def test_pinned_memory_that_is_filled_again_before_its_copy_has_ended(monkeypatch):
    buffers = {}

    def staging(shape, dtype, device):
        return buffers.setdefault(shape, transfer.staging(shape, dtype, device))

    monkeypatch.setattr(group_pass, "staging", staging)
    _, machine, _ = run()
    assert found(machine, "pinned memory was changed before its copy had ended")


def test_numbers_that_are_read_before_they_have_come(monkeypatch):
    monkeypatch.setattr(transfer.Download, "read", lambda download: tuple(map(torch.Tensor.numpy, download._host)))
    rows, _, differences = run()
    assert [row["error_class"] for row in rows] != [None]
    assert any("PendingResponses.rows" in difference for difference in differences)


def test_a_tensor_of_one_gpu_that_is_indexed_with_anothers(monkeypatch):
    def places(adapter, sequence):
        return transfer.upload(torch.arange(len(sequence.ids_T))[sequence.visual], torch.device("cuda", 1))

    monkeypatch.setattr(Adapter, "_places", places)
    (row,), _, _ = run(num_devices=2)
    assert "indices should be either on cpu or on the same device (cuda:0)" in row["error_message"]


def test_a_wait_that_is_new(monkeypatch):
    retain = GroupCandidates.retain

    def retain_asking(candidates, question, limit):
        candidates.features.sum().item()
        retain(candidates, question, limit)

    monkeypatch.setattr(GroupCandidates, "retain", retain_asking)
    _, _, (difference,) = run()
    assert "ScorerActor.retain: _local_scalar_dense" in difference
    assert "allowed and needed are 0 (actors/scorer.py:" in difference


def test_a_wait_that_has_vanished(monkeypatch):
    monkeypatch.setattr(DeviceTimer, "seconds", lambda timer: dict.fromkeys(("encode", "prefill", "score"), 0.0))
    _, _, (difference,) = run()
    assert difference == "DeviceTimer.seconds > DeviceTimer._between: event 0 times, allowed and needed are 6 (nowhere)"
