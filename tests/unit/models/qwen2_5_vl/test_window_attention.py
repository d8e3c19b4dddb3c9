import copy
import itertools

import pytest
import torch

from pipeline.models.qwen.window_attention import WINDOW_ATTENTION, window_attention

TOLERANCE = 1e-5


@pytest.mark.parametrize("lengths", [[4], [4, 4, 4], [16, 4, 16, 8, 4], [1, 2, 3, 4, 5], [64, 16]])
def test_window_attention_equals_a_float64_softmax_inside_each_window(lengths):
    generator = torch.Generator().manual_seed(len(lengths))
    query, key, value = (torch.randn(1, 3, sum(lengths), 8, generator=generator) for _ in range(3))
    bounds = torch.tensor([0, *itertools.accumulate(lengths)])
    output, _ = window_attention(None, query, key, value, None, scaling=0.3, cu_seq_lens_q=bounds)
    for start, stop in itertools.pairwise(bounds.tolist()):
        q, k, v = (tensor[0, :, start:stop].double() for tensor in (query, key, value))
        expected = (q @ k.transpose(1, 2) * 0.3).softmax(dim=-1) @ v
        torch.testing.assert_close(output[0, start:stop].double(), expected.transpose(0, 1), atol=1e-6, rtol=0)


# patch grids: even, one window, several equal windows, unequal windows, ragged on both sides
@pytest.mark.parametrize("grid", [(1, 4, 4), (2, 8, 8), (2, 16, 8), (1, 6, 10), (3, 18, 10), (2, 2, 14)])
def test_vision_tower_equals_stock_sdpa_for_all_window_shapes(case, grid):
    stock, windowed = (copy.deepcopy(case.stock) for _ in range(2))
    stock.set_attn_implementation({"vision_config": "sdpa"})
    windowed.set_attn_implementation({"vision_config": WINDOW_ATTENTION})
    assert windowed.model.visual.config._attn_implementation == WINDOW_ATTENTION
    pixels = torch.randn(grid[0] * grid[1] * grid[2], 1176, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, actual = (m.model.visual(pixels, torch.tensor([grid])).pooler_output for m in (stock, windowed))
    assert expected.abs().mean() > 1e-2
    torch.testing.assert_close(actual, expected, atol=TOLERANCE, rtol=0)
