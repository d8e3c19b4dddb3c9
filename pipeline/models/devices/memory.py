"""Memory that is free right now, on a GPU or on this machine, and the refusal of a model that needs more."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.devices.map import DevicePlan, plan_gpus, usable_bytes
from pipeline.models.devices.memory_plan import MemoryNeed

_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def free_bytes(device: str) -> int | None:
    """Free bytes of a device; None where the system does not say.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:1``.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [limit for limit in (_machine_free_bytes(), _container_free_bytes()) if limit is not None]
    return min(limits, default=None)


def check_memory(name: str, need: MemoryNeed, plan: DevicePlan, devices: Sequence[str]) -> None:
    """Refuse a model before it is loaded.

    Args:
        name: of the checkpoint.
        need: of the model and the run.
        plan: where its parts go; one entry per device.
        devices: in the order of the plan.

    Raises:
        PipelineError: Class ``out_of_memory``: a device has less than its part needs.
    """
    for device, needed in zip(devices, plan.device_bytes, strict=True):
        free = free_bytes(device)
        if free is not None and needed > usable_bytes(free):
            share = "" if len(devices) == 1 else f" as one of {len(devices)} devices"
            raise PipelineError(
                FailureClass.OUT_OF_MEMORY,
                f"model {name!r} needs about {_show(needed)} on {device}{share} (all its weights take "
                f"{_show(need.weight_bytes)}, the rest is keys and values, candidates and working memory), but "
                f"{_show(free)} are free; {_remedy(need, free, device)}",
            )


def _remedy(need: MemoryNeed, free: int, device: str) -> str:
    common = "model.dtype=bfloat16, a lower scoring.question_batch or scoring.encode_patches, or a smaller checkpoint"
    if device == "cpu":
        return f"free memory, or use {common}"
    try:
        num_gpus = len(plan_gpus(need, gpu_bytes=free).device_bytes)
    except ValueError:
        return f"use GPUs with more free memory, {common}"
    return f"set execution.gpus_per_scorer={num_gpus}, or use {common}"


def _show(num_bytes: int) -> str:
    return f"{num_bytes / 1024**3:.1f} GiB" if num_bytes >= 1024**3 else f"{num_bytes / 1024**2:.1f} MiB"


def _machine_free_bytes() -> int | None:
    with suppress(OSError, ValueError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _container_free_bytes() -> int | None:
    """What the control group still allows; its page cache counts as free."""
    with suppress(OSError, ValueError, KeyError):
        limit = int((_CGROUP / "memory.max").read_text())  # "max" is no number: no limit
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
        statistics = dict(line.split() for line in lines)
        return max(0, limit - used + int(statistics["inactive_file"]))
    return None
