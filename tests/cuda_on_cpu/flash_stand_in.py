"""flash-attn behind transformers' own way to it: a stand-in that makes the interface's checks."""

import inspect
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from transformers import modeling_flash_attention_utils

from tests.cuda_on_cpu.device_tensor import DeviceTensor
from tests.unit.models.test_flash_attention import varlen


@contextmanager
def flash_attention() -> Iterator[None]:
    """Inside, it is installed. That the stand-in reads its bounds is not the product's wait."""

    def unwatched(q: Any, *args: Any, **kwargs: Any) -> Any:
        journal = q.machine.journal if isinstance(q, DeviceTensor) else None
        before = Counter(journal.waits) if journal else Counter()
        attended = varlen(q, *args, **kwargs)
        if journal:
            journal.waits = before
        return attended

    unwatched.__signature__ = inspect.signature(varlen)  # type: ignore[attr-defined]
    process = modeling_flash_attention_utils._lazy_define_process_function(unwatched)
    has_paged = hasattr(modeling_flash_attention_utils, "_process_with_kvcache_kwargs_fn")  # newer ones
    functions = (None, unwatched, None, None, None), ((process, dict) if has_paged else process)
    with mock.patch.object(modeling_flash_attention_utils, "lazy_import_flash_attention", return_value=functions):
        yield


def use_flash_attention(model: Any) -> Any:
    """The vision tower of an adapter takes it; the setter would ask for the package."""
    model._model.model.visual.config._attn_implementation = "flash_attention_2"
    return model
