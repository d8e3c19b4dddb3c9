"""The vision towers on flash-attn, for which a stand-in makes its interface's checks.

On the meta device a tensor that was left on the host is told from one that is where the tower is; on the CPU numbers
are compared with the stock path.
"""

import copy
import inspect
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import modeling_flash_attention_utils

from pipeline.models.registry import FAMILIES
from tests.unit.models.tiny_models import BUILDERS

TOWERS = ["qwen2_5_vl", "qwen3_vl", "glm4v"]  # frames of the others are rows of a batch: no bounds are passed


def varlen(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None, causal=False
):
    """``flash_attn_varlen_func``: its refusals, and the same numbers by a loop over the pieces."""
    for tensor in (k, v, cu_seqlens_q, cu_seqlens_k):
        assert tensor.device == q.device, f"{tuple(tensor.shape)} must be on {q.device}, is on {tensor.device}"
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert type(max_seqlen_q) is type(max_seqlen_k) is int  # else the device was read for it
    assert not causal
    if q.is_meta:
        return torch.empty_like(q)
    bounds = cu_seqlens_q.tolist()
    assert max_seqlen_q == max_seqlen_k >= np.diff(bounds).max()
    pieces = [[tensor[a:b].transpose(0, 1) for tensor in (q, k, v)] for a, b in pairwise(bounds)]
    attended = [torch.nn.functional.scaled_dot_product_attention(*piece, scale=softmax_scale) for piece in pieces]
    return torch.cat([piece.transpose(0, 1) for piece in attended])


def stand_in(monkeypatch, function):
    """Put a function behind transformers' own way to flash-attn 2; newer versions have one more for paged caches."""
    function.__signature__ = inspect.signature(varlen)
    utils = modeling_flash_attention_utils
    process = utils._lazy_define_process_function(function)
    processes = (process, dict) if hasattr(utils, "_process_with_kvcache_kwargs_fn") else process
    functions = (None, function, None, None, None), processes
    monkeypatch.setattr(utils, "lazy_import_flash_attention", lambda *_, **__: functions)


@pytest.fixture(autouse=True)
def flash_attn(monkeypatch):
    """The stand-in; yields the number of calls."""
    calls = []

    def counted(*args, **kwargs):
        calls.append(1)
        return varlen(*args, **kwargs)

    stand_in(monkeypatch, counted)
    return calls


def build(family, *, device, vision):
    row = FAMILIES[family]
    stock, tokenizer = BUILDERS[family]()
    stock = copy.deepcopy(stock)
    stock.set_attn_implementation(dict(row.attention))
    stock.model.visual.config._attn_implementation = vision  # the setter would ask for the package
    dtype = torch.bfloat16 if device == "meta" else torch.float32
    return row.build(stock.to(device, dtype), tokenizer, name="tiny", revision="0")


def encode(model, *, height, width, batch_patches):
    geometry = model.frame_geometry(height, width, min_pixels=2_000, max_pixels=60_000)
    shape = (4 * model.frames_per_patch, geometry.height, geometry.width, 3)
    frames = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    return model.encode(frames, geometry, batch_patches=batch_patches)


@pytest.mark.parametrize("family", TOWERS)
def test_the_bounds_of_pieces_are_int32_where_the_tower_is(family, flash_attn):
    model = build(family, device="meta", vision="flash_attention_2")
    assert encode(model, height=168, width=140, batch_patches=3).is_meta
    assert flash_attn


@pytest.mark.parametrize(("height", "width"), [(168, 140), (64, 224), (56, 56)])
@pytest.mark.parametrize("family", TOWERS)
def test_features_equal_those_of_torchs_kernels(family, height, width, flash_attn):
    size = {"height": height, "width": width, "batch_patches": 3}
    expected = encode(build(family, device="cpu", vision="sdpa"), **size)
    assert not flash_attn
    actual = encode(build(family, device="cpu", vision="flash_attention_2"), **size)
    assert flash_attn
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


class Uploads(torch.utils._python_dispatch.TorchDispatchMode):
    """Indices that lie on the host while what they index lies on the device."""

    def __init__(self):
        super().__init__()
        self.strays = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.index and args[0].is_meta:
            self.strays += [index for index in args[1] if index is not None and not index.is_meta]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", TOWERS)
def test_the_order_of_windows_is_where_the_tower_is(family):
    model = build(family, device="meta", vision="flash_attention_2")
    with Uploads() as uploads:
        encode(model, height=168, width=140, batch_patches=3)
    assert uploads.strays == []
