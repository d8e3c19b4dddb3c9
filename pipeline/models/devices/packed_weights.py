"""What becomes of a quantised checkpoint's weights on a device: whether stock code can multiply them packed there.

Where it cannot, it makes ordinary weights of them while loading, and they take the room of such.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.devices.memory_plan import ModelSize

_INSTEAD = "or give the checkpoint that is not quantised"
_LEAST_CAPABILITY = (8, 9)  # of a GPU that multiplies numbers of 8 bits
_GPU_ONLY = frozenset({"fbgemm_fp8"})


def refuse_packed_on(name: str, quantiser: str | None, devices: Sequence[str]) -> None:
    """Before weights are fetched.

    Args:
        name: of the checkpoint.
        quantiser: its method; None: it is not quantised.
        devices: that it would be loaded on.

    Raises:
        PipelineError: Class ``model``: the quantiser is installed, but not for such a device.
    """
    is_gpu = devices[0].startswith("cuda")
    # stock code goes by the GPUs that there are, and leaves weights packed for one of them
    needs_gpu = quantiser in _GPU_ONLY or (quantiser == "fp8" and torch.cuda.is_available())
    if needs_gpu and not is_gpu:
        remedy = f"set execution.gpus_per_scorer=1 on a machine with GPUs, {_INSTEAD}"
        raise _error(name, f"is quantised by {quantiser!r}, which needs a GPU here, got {devices[0]}; {remedy}")
    if quantiser == "fp8" and stays_packed(quantiser, devices) and find_spec("kernels") is None:
        needed = "which needs what is not installed here: kernels; pip install kernels"
        raise _error(name, f"is quantised by 'fp8', {needed}, {_INSTEAD}")


def stays_packed(quantiser: str | None, devices: Sequence[str]) -> bool:
    """Whether weights are multiplied as they are stored; without devices: on GPUs that can, if any can."""
    if quantiser == "fp8":
        return all(
            device.startswith("cuda") and torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY
            for device in devices
        )
    return quantiser != "compressed-tensors"


def size_on(size: ModelSize, quantiser: str | None, devices: Sequence[str]) -> ModelSize:
    """The size with weights as they are once loaded: of what does not stay packed every parameter counts."""
    return size if stays_packed(quantiser, devices) else size.with_stored({})


def unpack_weights(model: Any, quantiser: str | None, dtype: torch.dtype) -> None:
    """Make ordinary weights where stock code waits for a pass over the whole model, which is never run here.

    Args:
        model: as stock code loads it.
        quantiser: its method.
        dtype: the working type; what older versions of transformers make of FP8 is bfloat16 whatever was asked for.
    """
    if hasattr(model, "ct_decompress_hook"):
        model.hf_quantizer.compressor.decompress_model(model)
    if quantiser == "fp8":
        for parameter in model.parameters():
            if parameter.dtype is torch.bfloat16:
                parameter.data = parameter.data.to(dtype)


def _error(name: str, what: str) -> PipelineError:
    return PipelineError(FailureClass.MODEL, f"model {name!r} {what}")
