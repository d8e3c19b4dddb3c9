"""On the meta device nothing can be read back: a pass that runs there never makes the host wait for its numbers."""

import numpy as np
import pytest
import torch

from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ScoringConfig
from tests.unit.models.tiny_models import BUILDERS

CONFIG = ScoringConfig(reference_layer=1)


def build(family, *, device):
    row = FAMILIES[family]
    stock, tokenizer = BUILDERS[family]()
    stock.set_attn_implementation(dict(row.attention))
    return row.build(stock.to(device), tokenizer, name="tiny", revision="0")


def group_of(model, *, num_patches):
    geometry = model.frame_geometry(168, 140, min_pixels=2_000, max_pixels=30_000)
    shape = (num_patches * model.frames_per_patch, geometry.height, geometry.width, 3)
    return geometry, np.zeros(shape, dtype=np.uint8)


def launch(model):
    geometry, frames = group_of(model, num_patches=4)
    features = model.encode(frames, geometry, batch_patches=3)
    prefix = model.prefill(features, geometry, patch_s=1.0, center_s_P=np.arange(4) + 0.25)
    options = [("red", "blue"), ("red", "blue", "green")]
    prompts = [model.build_question("What color is the circle ?", o, response_tokens=3) for o in options]
    return features, model.launch(prefix, prompts, CONFIG)


def test_a_groups_pass_is_queued_without_reading_anything_back():
    model = build("qwen2_5_vl", device="meta")
    features, launched = launch(model)
    assert features.device.type == "meta"
    with pytest.raises(TypeError, match="meta"):
        launched.read()  # only now, and there is nothing to read here


class Watch(torch.utils._python_dispatch.TorchDispatchMode):
    """Records operations whose result or shape the host must know."""

    def __init__(self):
        super().__init__()
        self.reads = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        aten = torch.ops.aten
        is_masked = func.overloadpacket in (aten.index, aten.index_put_) and any(
            index is not None and index.dtype is torch.bool for index in args[1]
        )
        if is_masked or func.overloadpacket in (aten.nonzero, aten._local_scalar_dense):
            self.reads.append(func.overloadpacket)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_vl_moe"])
def test_qwen3_reads_nothing_back_where_stock_deepstack_would_ask_for_its_places(family):
    model = build(family, device="cpu")
    geometry, frames = group_of(model, num_patches=2)
    with Watch() as watch:
        features = model.encode(frames, geometry, batch_patches=2)
        model.prefill(features, geometry, patch_s=1.0, center_s_P=np.arange(2) + 0.25)
    assert features.shape[1] > model.similarity_dim  # there is deepstack
    assert watch.reads == []


def test_internvl_reads_nothing_back_though_its_rotary_scaling_is_dynamic():
    model = build("internvl", device="meta")
    geometry, frames = group_of(model, num_patches=2)
    features = model.encode(frames, geometry, batch_patches=2)
    prefix = model.prefill(features, geometry, patch_s=1.0)
    prompt = model.build_question("What color is the circle ?", ("red", "blue"), response_tokens=1)
    with pytest.raises(TypeError, match="meta"):
        model.launch(prefix, [prompt], CONFIG).read()
