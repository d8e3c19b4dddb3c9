"""What a worker's process holds: a tiny model on the CPU, or on the GPUs of a machine of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from tests.cuda_on_cpu.device_tensor import move_module
from tests.cuda_on_cpu.flash_stand_in import flash_attention, use_flash_attention
from tests.cuda_on_cpu.machine import Machine
from tests.cuda_on_cpu.passes import build_model
from tests.cuda_on_cpu.simulation import simulated
from tests.cuda_on_cpu.two_devices import spread


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """A model and what it runs on; ``has_flash`` is about the vision tower, in 16 bits."""

    family: str = "internvl"
    dtype: torch.dtype = torch.float32
    num_devices: int = 1
    has_flash: bool = False

    def __str__(self) -> str:
        flash = "-flash" if self.has_flash else ""
        return f"{self.family}-{str(self.dtype).removeprefix('torch.')}-{self.num_devices}{flash}"


@dataclass(kw_only=True, slots=True)
class Processes:
    """Those of one job, each with a machine of its own; ``prepare`` is told of a new one before it works."""

    hardware: Hardware
    prepare: Callable[[int, Machine], None] = lambda number, machine: None
    machines: list[Machine] = field(default_factory=list)

    @contextmanager
    def on_gpus(self, number: int) -> Iterator[Any]:
        """A process that sees GPUs; what building a model waits for is forgotten."""
        hardware = self.hardware
        with simulated(hardware.num_devices) as machine, _flash(hardware):

            def place(stock: Any) -> None:
                if hardware.num_devices == 1:
                    move_module(stock, torch.device("cuda", 0), machine)
                else:
                    spread(stock, hardware.family, machine)

            model = build_model(hardware.family, dtype=hardware.dtype, place=place)
            machine.journal.waits.clear()
            self.machines.append(machine)
            self.prepare(number, machine)
            yield use_flash_attention(model) if hardware.has_flash else model

    @contextmanager
    def on_the_cpu(self, number: int) -> Iterator[Any]:
        """One that sees none."""
        with _flash(self.hardware):
            yield cpu_model(self.hardware.family, self.hardware.dtype, has_flash=self.hardware.has_flash)


@cache
def cpu_model(family: str, dtype: torch.dtype, *, has_flash: bool = False) -> Any:
    model = build_model(family, dtype=dtype)
    return use_flash_attention(model) if has_flash else model


def _flash(hardware: Hardware) -> Any:
    return flash_attention() if hardware.has_flash else nullcontext()
