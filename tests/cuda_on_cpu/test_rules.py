"""The simulated device keeps CUDA's rules: what a real one refuses, waits for or gets wrong, it does too."""

import pytest
import torch

from tests.cuda_on_cpu.breakage import KERNEL
from tests.cuda_on_cpu.simulation import simulated

ONE, OTHER = torch.device("cuda", 0), torch.device("cuda", 1)


@pytest.fixture
def machine():
    with simulated(2) as machine:
        yield machine


def waits(machine):
    return [why for _, why in machine.journal.waits.elements()]


def on(device, *values):
    return torch.tensor(values).pin_memory().to(device, non_blocking=True)


def test_numbers_are_those_of_the_host(machine):
    values = torch.zeros(2, 3, device=ONE) + on(ONE, 1.0, 2.0, 3.0)
    values[0, 1:] = 7.0
    assert values.is_cuda
    assert values.device == ONE
    assert waits(machine) == []
    assert values.tolist() == [[1, 7, 7], [1, 2, 3]]
    assert waits(machine) == ["copy to the host"]


@pytest.mark.parametrize(
    "mix",
    [
        lambda: on(ONE, 1.0) + on(OTHER, 2.0),
        lambda: on(ONE, 1.0, 2.0) + torch.ones(2),
        lambda: torch.cat([on(ONE, 1.0), torch.ones(1)]),
        lambda: on(ONE, 1.0, 2.0)[on(OTHER, 1)],
        lambda: torch.ones(2)[on(ONE, 1)],
        lambda: on(ONE, 1.0).numpy(),
    ],
)
def test_devices_do_not_mix(machine, mix):
    with pytest.raises((RuntimeError, TypeError), match=r"same device|cuda:0 device type tensor to numpy"):
        mix()


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda values: values.sum().item(), "_local_scalar_dense"),
        (lambda values: values[values > 1], "boolean index"),
        (lambda values: values.nonzero(), "nonzero"),
        (lambda values: values[torch.tensor([0, 1])], "index from the host"),
        (lambda values: torch.ones(2).to(values.device, non_blocking=True), "copy to the device"),  # pageable
        (lambda values: torch.ones(2).pin_memory().to(values.device), "copy to the device"),  # blocking
        (lambda values: torch.empty(2).copy_(values, non_blocking=True), "copy to the host"),  # pageable
        (lambda values: torch.cuda.current_stream().synchronize(), "stream.synchronize"),
    ],
)
def test_what_the_host_waits_for_is_noted(machine, read, why):
    values = on(ONE, 1.0, 2.0)
    read(values)
    assert waits(machine) == [why]


def test_a_copy_to_pinned_memory_is_there_once_an_event_after_it_has_been_waited_for(machine):
    host = torch.empty(2, pin_memory=True).copy_(on(ONE, 1.0, 2.0), non_blocking=True)
    assert host.isnan().all()
    torch.cuda.current_stream(ONE).record_event().synchronize()
    assert host.tolist() == [1.0, 2.0]


def test_pinned_memory_must_stay_until_its_copy_has_ended(machine):
    host = torch.ones(2).pin_memory()
    host.to(ONE, non_blocking=True)
    host.zero_()
    torch.cuda.synchronize()
    assert "pinned memory was changed" in machine.journal.faults[0]


def test_streams_must_be_put_in_order(machine):
    side = torch.cuda.Stream(ONE)
    with torch.cuda.stream(side):
        values = torch.ones(2, device=ONE)
    values.add(1)
    assert "without an order" in machine.journal.faults[0]
    machine.journal.faults.clear()
    torch.cuda.current_stream(ONE).wait_stream(side)
    values.add(1)
    assert machine.journal.faults == []
    del values
    assert "is freed while 0:default may use it" in machine.journal.faults[0]


def test_memory_that_another_stream_is_known_to_use_may_be_freed(machine):
    side = torch.cuda.Stream(ONE)
    with torch.cuda.stream(side):
        values = torch.ones(2, device=ONE)
    torch.cuda.current_stream(ONE).wait_stream(side)
    values.record_stream(torch.cuda.current_stream(ONE))
    values.add(1)
    del values
    assert machine.journal.faults == []


CALLS = {
    "a launch": lambda values: values + 1,
    "an upload": lambda values: on(ONE, 1.0),
    "a download": lambda values: torch.empty(2, pin_memory=True).copy_(values, non_blocking=True),
    "an event": lambda values: torch.cuda.current_stream(ONE).record_event(),
    "a wait": lambda values: torch.cuda.current_stream(ONE).synchronize(),
}


@pytest.mark.parametrize("call", CALLS)
def test_once_a_context_is_lost_every_call_fails(machine, call):
    def launch(values):
        return values * 2

    values = on(ONE, 1.0, 2.0)
    machine.breakage.arm(KERNEL, inside=launch.__qualname__, after=1)
    launch(values)
    values * 2
    with pytest.raises(torch.AcceleratorError, match="CUDA error: an illegal memory access"):
        launch(values)
    with pytest.raises(torch.AcceleratorError, match="CUDA error: an illegal memory access"):
        CALLS[call](values)


def test_a_kernel_that_fails_late_is_told_by_the_next_call_that_waits(machine):
    def launch(values):
        return values * 2

    machine.breakage.arm(KERNEL, inside=launch.__qualname__, is_late=True)
    result = launch(on(ONE, 1.0, 2.0)) + 1
    with pytest.raises(torch.AcceleratorError):
        result.tolist()
    with pytest.raises(torch.AcceleratorError):
        result + 1


def test_outside_there_is_no_device():
    with simulated():
        pass
    assert torch.cuda.is_available() == torch.backends.cuda.is_built()
