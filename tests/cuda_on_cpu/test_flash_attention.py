"""The vision towers on flash-attn, whose stand-in makes its interface's checks, over a simulated GPU: no wait."""

from collections import Counter

import numpy as np
import pytest
import torch

from tests.cuda_on_cpu.device_tensor import DeviceTensor, move_module
from tests.cuda_on_cpu.passes import build_model
from tests.cuda_on_cpu.simulation import simulated
from tests.unit.models.test_flash_attention import stand_in, varlen


@pytest.fixture(autouse=True)
def flash_attn(monkeypatch):
    """Behind transformers' own way to flash-attn 2; that the stand-in reads its bounds is not the product's wait."""

    def unwatched(q, *args, **kwargs):
        journal = q.machine.journal if isinstance(q, DeviceTensor) else None
        before = Counter(journal.waits) if journal else None
        attended = varlen(q, *args, **kwargs)
        if journal:
            journal.waits = before
        return attended

    stand_in(monkeypatch, unwatched)


def build(family, place=None):
    model = build_model(family, dtype=torch.bfloat16, place=place)
    model._model.model.visual.config._attn_implementation = "flash_attention_2"  # the setter would ask for the package
    return model


def encode(model):
    geometry = model.frame_geometry(168, 140, min_pixels=2_000, max_pixels=60_000)
    shape = (4 * model.frames_per_patch, geometry.height, geometry.width, 3)
    frames = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    return model.encode(frames, geometry, batch_patches=3)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_features_are_those_of_the_cpu_and_nothing_is_waited_for(family):
    expected = encode(build(family))
    with simulated() as machine:
        model = build(family, lambda stock: move_module(stock, torch.device("cuda", 0), machine))
        encode(model)  # what depends on shapes only is built
        machine.journal.waits.clear()
        features = encode(model)
        assert machine.journal.waits == Counter()
        assert torch.equal(features.cpu(), expected)
    assert machine.journal.faults == []
