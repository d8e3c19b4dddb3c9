"""Which part of a model goes to which GPU of a worker, and how many GPUs it takes. Arithmetic; layers are the unit."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.models.devices.memory_plan import MemoryNeed, ModelSize

_USABLE_SHARE = 0.95  # of a GPU's memory; the rest is for the allocator's gaps and kernels' workspaces


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicePlan:
    """Decoder layers by device, in order, and what each device has to hold.

    Attributes:
        layers_per_device: consecutive layers, so that a pass crosses each border once.
        device_bytes: weights, keys and values, working memory.
    """

    layers_per_device: tuple[int, ...]
    device_bytes: tuple[int, ...]


def usable_bytes(total_bytes: int) -> int:
    """What of a device's memory a plan may count on."""
    return int(total_bytes * _USABLE_SHARE)


def place_layers(need: MemoryNeed, num_devices: int) -> DevicePlan:
    """Spread the layers so that the fullest device holds as little as possible.

    Vision tower, embedding and candidates lie on the first device, the output head on the last.

    Raises:
        ValueError: If there are more devices than layers.
    """
    need, num_layers = need.on_devices(num_devices), len(need.layer_bytes)
    if not 1 <= num_devices <= num_layers:
        raise ValueError(f"num_devices must be between 1 and the model's {num_layers} layers, got {num_devices}")
    low, high = 0, need.total_bytes
    while low < high:  # the smallest bound that num_devices devices keep
        bound = (low + high) // 2
        if _fill(need, bound, num_devices) is None:
            low = bound + 1
        else:
            high = bound
    counts = _fill(need, low, num_devices)
    assert counts is not None, "one device can hold everything within total_bytes"
    held = _device_bytes(need, counts)
    if need.loading:
        held = tuple(map(max, held, _device_bytes(need.loading, counts)))
    return DevicePlan(layers_per_device=counts, device_bytes=held)


def plan_gpus(need: MemoryNeed, *, gpu_bytes: int) -> DevicePlan:
    """The fewest GPUs of one size that hold a model.

    Raises:
        ValueError: If one layer and what stands beside it do not fit into one GPU.
    """
    usable = usable_bytes(gpu_bytes)
    for num_devices in range(1, len(need.layer_bytes) + 1):
        plan = place_layers(need, num_devices)
        if max(plan.device_bytes) <= usable:
            return plan
    least = max(plan.device_bytes)
    raise ValueError(
        f"gpu_bytes must be at least {int(least / _USABLE_SHARE) + 1} for this model with one layer per GPU, got "
        f"{gpu_bytes}; lower scoring.question_batch or scoring.encode_patches, or use a smaller checkpoint"
    )


def module_devices(size: ModelSize, layers_per_device: Sequence[int]) -> dict[str, int]:
    """``device_map`` of transformers: every placeable module and the number of its device."""
    owners = [device for device, count in enumerate(layers_per_device) for _ in range(count)]
    return (
        dict.fromkeys(size.first, 0)
        | dict(zip(size.layers, owners, strict=True))
        | dict.fromkeys(size.last, len(layers_per_device) - 1)
    )


def _fill(need: MemoryNeed, bound: int, num_devices: int) -> tuple[int, ...] | None:
    """Layers per device, each filled up to the bound but at least one left for every later one; None if too tight."""
    counts: list[int] = []
    remaining = list(need.layer_bytes)
    for index in range(num_devices):
        room, later = bound - _fixed_bytes(need, index, num_devices), num_devices - 1 - index
        count = 0
        while len(remaining) - count > later and remaining[count] <= room:
            room -= remaining[count]
            count += 1
        if not count:
            return None
        counts.append(count)
        remaining = remaining[count:]
    return None if remaining else tuple(counts)


def _device_bytes(need: MemoryNeed, counts: tuple[int, ...]) -> tuple[int, ...]:
    starts = [sum(counts[:index]) for index in range(len(counts))]
    return tuple(
        sum(need.layer_bytes[start : start + count]) + _fixed_bytes(need, index, len(counts))
        for index, (start, count) in enumerate(zip(starts, counts, strict=True))
    )


def _fixed_bytes(need: MemoryNeed, index: int, num_devices: int) -> int:
    """What a device holds beside its layers; the vision tower never works while a decoder layer does."""
    working = max(need.text_bytes, need.vision_bytes) if index == 0 else need.text_bytes
    first = need.first_bytes if index == 0 else 0
    return working + first + (need.last_bytes if index == num_devices - 1 else 0)
