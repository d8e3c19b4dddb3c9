"""Small random InternVL models, each behind the adapter and as stock transformers with eager attention."""

import copy

import numpy as np
import pytest
import torch

from pipeline.models.attention_probe import PROBED_ATTENTION
from pipeline.models.internvl.internvl import InternVL
from tests.unit.models.internvl.stock_internvl import NUM_FRAMES, Case
from tests.unit.models.internvl.tiny_internvl import SHAPES, build_model, build_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="session")
def as_adapter(tokenizer):
    def build(model):
        model = copy.deepcopy(model)
        model.set_attn_implementation({"text_config": PROBED_ATTENTION, "vision_config": "sdpa"})
        return InternVL(model, tokenizer, name="tiny", revision="0")

    return build


@pytest.fixture(scope="session", params=SHAPES)
def case(request, tokenizer, as_adapter):
    model = build_model(tokenizer, request.param)
    model.set_attn_implementation("eager")
    adapter = as_adapter(model)
    geometry = adapter.frame_geometry(240, 320, min_pixels=1, max_pixels=10**6)
    shape = (NUM_FRAMES, geometry.height, geometry.width, 3)
    frames = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    return Case(adapter=adapter, stock=model, tokenizer=tokenizer, frames=frames, geometry=geometry)


@pytest.fixture(scope="session")
def features(case):
    return case.adapter.encode(case.frames, case.geometry, batch_patches=NUM_FRAMES)


@pytest.fixture(scope="session")
def prefix(case, features):
    return case.adapter.prefill(features, case.geometry, patch_s=1.0)


@pytest.fixture
def first_logits(monkeypatch):
    """Logits from which the adapter chose its first response tokens, one entry per call."""
    import pipeline.models.final_pass as answering
    import pipeline.models.shared_prefix as scoring

    seen: list[torch.Tensor] = []
    first_tokens = scoring.first_tokens

    def record(text, logits_BV, *arguments):
        seen.append(logits_BV)
        return first_tokens(text, logits_BV, *arguments)

    for module in (answering, scoring):
        monkeypatch.setattr(module, "first_tokens", record)
    return seen
