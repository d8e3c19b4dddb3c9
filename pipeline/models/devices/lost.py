"""Which errors say that a process can use its GPU no more: from then on every call fails, whatever it is about."""

import torch

_MARKS = ("CUDA error:", "CUDNN_STATUS_EXECUTION_FAILED", "CUDNN_STATUS_INTERNAL_ERROR", "HIP error:")


def loses_device(error: BaseException) -> bool:
    """Whether an error, or one that led to it, leaves the process with a broken CUDA context.

    A failed kernel (device-side assert, illegal memory access) is reported by whatever is called next, and by all that
    is called after that. Memory that does not suffice is another matter: torch has a class of its own for it.
    """
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        if _is_fatal(error):
            return True
        error = error.__cause__ or error.__context__ or error
    return False


def _is_fatal(error: BaseException) -> bool:
    if not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError):
        return False
    return isinstance(error, torch.AcceleratorError) or any(mark in str(error) for mark in _MARKS)
