"""Every family's tiny models, saved and loaded again."""

import numpy as np
import pytest
import torch

from pipeline.models import loading
from pipeline.models.attention_probe import PROBED_ATTENTION
from pipeline.models.loading import check_reference_layer, describe_model, load_model
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ModelConfig, ScoringConfig


def look(case, model):
    """Everything that one question about the clip gives."""
    prefix = case.prefill(model, case.encode(model, batch_patches=2))
    prompt = model.build_question(*case.questions[0], response_tokens=1)
    (response,) = model.score(prefix, [prompt], ScoringConfig(reference_layer=case.layer))
    return response


def test_a_saved_checkpoint_answers_like_the_model_that_was_saved(case, checkpoint):
    loaded = load_model(ModelConfig(model=str(checkpoint)), torch_threads=1, device="cpu")
    expected, actual = look(case, case.adapter), look(case, loaded)
    assert isinstance(loaded, FAMILIES[case.family].build)
    assert loaded._model.config.text_config._attn_implementation == PROBED_ATTENTION
    # not bit for bit: weights mapped from a file are aligned otherwise, and kernels may sum in another order
    assert actual.option_probabilities == pytest.approx(expected.option_probabilities, abs=1e-6)
    assert actual.entropies == pytest.approx(expected.entropies, abs=1e-5)
    assert actual.attention_N == pytest.approx(expected.attention_N, abs=1e-6)
    name = str(checkpoint)
    assert (loaded.name, loaded.revision) == (name, describe_model(ModelConfig(model=name)).revision)
    assert torch.get_num_threads() == 1


def test_identity_says_family_and_shapes_without_weights(case, checkpoint, monkeypatch):
    monkeypatch.delattr(loading, "_load_weights")
    identity = describe_model(ModelConfig(model=str(checkpoint)))
    layout, last = identity.layout, case.stock.config.text_config.num_hidden_layers - 1
    assert identity.family == case.family
    assert (layout.frames_per_patch, layout.num_layers) == (case.frames_per_patch, last + 1)
    assert layout.max_positions == case.max_positions
    assert layout.feature_width == case.adapter.feature_width
    check_reference_layer(layout, last)
    with pytest.raises(ValueError, match=f"layers 0 to {last}, got {last + 1}"):
        check_reference_layer(layout, last + 1)


def test_half_precision_weights_keep_the_answer_close(case, checkpoint):
    full, half = (
        look(case, load_model(ModelConfig(model=str(checkpoint), dtype=dtype), device="cpu"))
        for dtype in ("float32", "bfloat16")
    )
    assert half.option_probabilities == pytest.approx(full.option_probabilities, abs=0.05)
    assert np.isfinite(half.attention_N).all()
