"""What this machine has: devices, versions of the libraries that matter, decoders, attention kernels."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Any

import torch
from packaging.requirements import Requirement
from transformers.utils import is_flash_attn_2_available

_PACKAGE = "adapttoken-ray"
_LIBRARIES = ("torch", "transformers", "ray", "accelerate", "safetensors", "tokenizers", "flash_attn")
_LINEAR_KERNELS = (
    ("linear attention's delta rule", ("fla", "flash-linear-attention")),
    ("linear attention's convolution", ("causal_conv1d", "causal-conv1d")),
)
_DECODERS = ("av", "decord", "torchcodec")
_QUANTISERS = ("gptqmodel", "optimum", "bitsandbytes", "compressed-tensors", "torchao")


def list_devices() -> list[tuple[str, str]]:
    """Name and size of every GPU; the CPU in any case."""
    cores = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads of torch"
    found = [("cpu", cores)]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        capability = f"{properties.major}.{properties.minor}"
        size = f"{free / 1024**3:.1f} of {total / 1024**3:.1f} GiB free"
        found.append((f"cuda:{index}", f"{properties.name}, compute capability {capability}, {size}"))
    return found


def list_versions() -> list[tuple[str, str]]:
    """Of the libraries that change answers or speed."""
    names = (*_LIBRARIES, *_DECODERS, *_QUANTISERS)
    cuda = torch.version.cuda or "none"
    return [
        ("python", platform.python_version()),
        ("CUDA of torch", cuda),
        *((name, _version(name) or "not installed") for name in names),
    ]


def list_decoders() -> list[str]:
    """Decoder libraries that are installed."""
    return [name for name in _DECODERS if find_spec(name) is not None]


def wrong_versions() -> Iterator[str]:
    """Installed libraries outside the bounds that this project is tested in."""
    try:
        listed = [Requirement(line) for line in requires(_PACKAGE) or ()]
    except PackageNotFoundError:  # a clone that was not installed
        return
    for wanted in listed:
        installed = _version(wanted.name)
        is_ours = wanted.name in _LIBRARIES and not wanted.marker
        if is_ours and installed and not wanted.specifier.contains(installed, prereleases=True):
            yield f"{wanted.name} {installed}, tested with {wanted.specifier}"


def list_kernels(attention: dict[str, str], *, has_linear: bool = False) -> list[tuple[str, str]]:
    """Which attention each part takes, and what torch may choose from inside.

    Args:
        attention: part of the model → implementation.
        has_linear: whether it has linear attention too, for which stock code takes packages where they are installed.
    """
    backends: Any = torch.backends.cuda
    allowed = [
        name
        for name, is_on in (
            ("flash", backends.flash_sdp_enabled()),
            ("memory-efficient", backends.mem_efficient_sdp_enabled()),
            ("cuDNN", backends.cudnn_sdp_enabled()),
            ("math", backends.math_sdp_enabled()),
        )
        if is_on
    ]
    return [
        *((part.removesuffix("_config"), name) for part, name in attention.items()),
        ("kernels of torch's SDPA", ", ".join(allowed)),
        ("flash_attn package", "usable" if is_flash_attn_2_available() else "not usable here"),
        *((what, _kernel_of(*package)) for what, package in _LINEAR_KERNELS if has_linear),
    ]


def _kernel_of(module: str, package: str) -> str:
    return f"package {package}" if find_spec(module) else f"torch, much slower on a GPU; pip install {package}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
