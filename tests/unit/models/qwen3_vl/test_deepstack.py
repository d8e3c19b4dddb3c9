"""Deepstack features placed by index: the bits of stock code, which places them by mask."""

import pytest
import torch

from pipeline.models.fusion.setup import use_uncompiled
from pipeline.models.fusion.stream import Pending
from pipeline.models.qwen.deepstack import place_by_index
from tests.unit.models.tiny_models import BUILDERS


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_vl_moe"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_places_give_the_bits_that_a_mask_gives(family, dtype):
    language = BUILDERS[family]()[0].model.language_model
    random = torch.Generator().manual_seed(3)
    hidden_1TD = torch.randn(1, 9, 16, generator=random).to(dtype)
    places_1N = torch.tensor([[1, 2, 5, 8]])
    features_ND = torch.randn(4, 16, generator=random)
    mask_1T = torch.zeros(1, 9, dtype=torch.bool)
    mask_1T[0, places_1N[0]] = True
    expected = language._deepstack_process(hidden_1TD, mask_1T, features_ND)
    before = hidden_1TD.clone()
    place_by_index(language)
    assert torch.equal(language._deepstack_process(hidden_1TD, places_1N, features_ND), expected)
    assert torch.equal(language._deepstack_process(hidden_1TD, mask_1T, features_ND), expected)
    assert torch.equal(hidden_1TD, before)
    assert not torch.equal(expected, before)


def test_places_and_a_mask_are_one_thing_to_a_fused_model():
    """Fused before the adapter is built, as loading does it."""
    model = BUILDERS["qwen3_vl"]()[0]
    use_uncompiled(model)
    language = model.model.language_model
    place_by_index(language)
    random = torch.Generator().manual_seed(3)
    hidden_1TD, update_1TD = (torch.randn(1, 9, 16, generator=random) for _ in range(2))
    features_ND, places_1N = torch.randn(4, 16, generator=random), torch.tensor([[1, 2, 5, 8]])
    mask_1T = torch.zeros(1, 9, dtype=torch.bool)
    mask_1T[0, places_1N[0]] = True
    for given in (hidden_1TD, Pending(stream=hidden_1TD, update=update_1TD)):
        by_mask, by_places = (language._deepstack_process(given, where, features_ND) for where in (mask_1T, places_1N))
        assert torch.equal(by_mask, by_places)
