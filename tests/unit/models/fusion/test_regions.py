"""Fused formulas against the stock modules' own classes and double precision, and the check that lets them in."""

import pytest
import torch
from torch import nn
from transformers.models.internvl.modeling_internvl import InternVLVisionLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb as rotate_text
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from pipeline.models.fusion import formulas, stock_formulas
from pipeline.models.fusion.check import check_region, make_inputs, run_all
from pipeline.models.fusion.regions import FORMULAS, Region
from pipeline.models.fusion.swap import Need

CPU = torch.device("cpu")
SIZES = {"rotate": (3, 16), "rotate_both": (3, 10), "norm_rotate": (2, 128)}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def need_of(name, *sizes, dtype=torch.bfloat16):
    return Need(region=name, sizes=sizes or SIZES.get(name, (96,)), dtype=dtype, device=CPU)


def draw(*shape, dtype=torch.bfloat16, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_a_fused_formula_is_as_exact_as_stock_arithmetic_whatever_the_number_of_rows(name, dtype):
    found = check_region(need_of(name, dtype=dtype), Region(name, is_compiled=False), row_counts=(1, 2, 67, 130))
    assert found.is_exact, found.found


@pytest.mark.parametrize("width", [2, 6, 34, 1_281])
@pytest.mark.parametrize("name", [name for name in FORMULAS if name not in SIZES])
def test_odd_widths_are_as_exact(name, width):
    found = check_region(need_of(name, width), Region(name, is_compiled=False), row_counts=(5,))
    assert found.is_exact, found.found


@pytest.mark.parametrize("name", FORMULAS)
def test_in_single_precision_nothing_differs_from_stock_but_the_order_of_sums(name):
    fused, stock, _ = run_all(
        name, Region(name, is_compiled=False), make_inputs(need_of(name, dtype=torch.float32), 40)
    )
    for one, other in zip(fused, stock, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_results_are_as_many_as_a_region_says_and_have_the_first_inputs_shape_and_type(name):
    region, inputs = Region(name, is_compiled=False), make_inputs(need_of(name), 7)
    results = region(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    assert [one.shape for one in results] == [one.shape for one in region.new_outputs(inputs[0])]
    assert all((one.shape, one.dtype) == (inputs[0].shape, inputs[0].dtype) for one in results)


WRONG = {
    "forgets the weight": ("rms_norm", lambda x, w, eps: formulas.rms_norm(x, torch.ones_like(w), eps)),
    "norms before it adds": (
        "add_rms_norm",
        lambda x, u, w, eps: (formulas.add_rms_norm(x, u, w, eps)[0], formulas.rms_norm(x, w, eps)),
    ),
    "squares in half precision": (
        "rms_norm",
        lambda x, w, eps: (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)) * w,
    ),
    "gates the wrong half": ("gated_silu", lambda gate, up: formulas.gated_silu(up, gate)),
    "turns the other way": ("rotate", lambda x, cos, sin: formulas.rotate(x, cos, -sin)),
    "is off in one row of 64": (
        "gated_silu",
        lambda gate, up: formulas.gated_silu(gate, up).index_fill(0, torch.tensor([5]), 0.0),
    ),
    "gives no numbers": ("scaled_add", lambda x, u, s: x / 0),
    "does not run": ("scaled_add", lambda x, u, s: x @ u),
    "places features one row late": (
        "add_deepstack",
        lambda x, u, m, place, f: formulas.add_deepstack(x, u, m, (place + 1).clamp(max=len(f) - 1), f),
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_region_that_computes_something_else_is_refused(fault):
    name, function = WRONG[fault]
    region = Region(name, is_compiled=False)
    region._run = function
    found = check_region(need_of(name), region, row_counts=(67,))
    assert not found.is_exact
    assert found.found


def test_stock_formulas_are_the_stock_classes():
    norm = Qwen2RMSNorm(24, eps=1e-5).to(torch.bfloat16)
    norm.weight.data = draw(24)
    stream = draw(9, 24, seed=2)
    assert torch.equal(norm(stream), stock_formulas.rms_norm(stream, norm.weight, 1e-5))
    query, cos, sin = draw(1, 3, 9, 8), draw(1, 9, 8, seed=3), draw(1, 9, 8, seed=4)
    expected, _ = rotate_text(query, query, cos, sin)
    assert torch.equal(expected[0].transpose(0, 1), stock_formulas.rotate(query[0].transpose(0, 1), cos[0], sin[0]))
    both = draw(9, 2, 3, 8)
    expected = torch.stack(apply_rotary_pos_emb_vision(both[:, 0], both[:, 1], cos[0].float(), sin[0].float()), 1)
    assert torch.equal(expected, stock_formulas.rotate_both(both, cos[0].float(), sin[0].float()))
    layer_norm = nn.LayerNorm(24).to(torch.bfloat16)
    _, normed = stock_formulas.add_layer_norm(stream, stream, layer_norm.weight, layer_norm.bias, layer_norm.eps)
    assert torch.equal(normed, layer_norm(stream + stream))
    assert InternVLVisionLayer.__module__.startswith("transformers.")


def test_a_region_is_refused_where_nothing_can_be_compiled(monkeypatch):
    def fail(*_):
        raise RuntimeError("no compiler\nand a long story")

    region = Region("scaled_add", is_compiled=False)
    monkeypatch.setattr(region, "_run", fail)
    found = check_region(need_of("scaled_add"), region, row_counts=(3,))
    assert (found.is_exact, found.found) == (False, "RuntimeError: no compiler")
