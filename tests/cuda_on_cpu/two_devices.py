"""Stock models in parts on two devices, placed as loading places them, with accelerate's hooks at the borders."""

from typing import Any
from unittest import mock

import accelerate
import torch

from pipeline.models.devices.map import module_devices
from pipeline.models.devices.memory_plan import measure_model
from pipeline.models.registry import FAMILIES
from tests.cuda_on_cpu.device_tensor import DeviceTensor, move_module
from tests.cuda_on_cpu.machine import Machine


def spread(stock: Any, family: str, machine: Machine) -> None:
    """Half of the layers on each, the head on the second."""
    size = measure_model(FAMILIES[family].architecture, stock.config)
    half = len(size.layers) // 2
    numbers = module_devices(size, (half, len(size.layers) - half))
    own = dict(stock.named_parameters())
    places = {part: torch.device("cuda", number) for part, number in numbers.items()}
    for part, device in places.items():
        if part not in own:
            move_module(stock.get_submodule(part), device, machine)
            continue
        owner, _, name = part.rpartition(".")  # a parameter of the model itself
        moved = DeviceTensor(own[part].detach().clone(), device, machine)
        stock.get_submodule(owner)._parameters[name] = torch.nn.Parameter(moved, requires_grad=False)
    with mock.patch("accelerate.hooks.set_module_tensor_to_device"):  # all are in their places
        accelerate.dispatch_model(
            stock,
            device_map=places,
            main_device=torch.device("cuda", 0),
            force_hooks=True,
            skip_keys=getattr(stock, "_skip_keys_device_placement", None),
        )
