"""What only a GPU can show: ``pytest -m gpu``. Fails, and does not skip, where there is none."""

import numpy as np
import pytest
import torch

from pipeline.lab.benchmarks.model_figures import SpeedCase
from pipeline.lab.benchmarks.model_speed import measure_speed
from pipeline.method.removal import remove_redundant
from pipeline.models.devices.gpu_layers import fit_layers_to_gpu
from pipeline.models.interface import FinalTokens
from pipeline.models.loading import keep_all_bits
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ScoringConfig
from tests.unit.models.tiny_models import BUILDERS

pytestmark = pytest.mark.gpu
CONFIG = ScoringConfig(reference_layer=1)
QUESTIONS = (("What color is the circle ?", ("red", "blue")), ("Which one ?", ("red", "blue", "green")))


@pytest.fixture(scope="module", autouse=True)
def there_is_a_gpu():
    assert torch.cuda.is_available(), "these tests need a CUDA device"
    keep_all_bits()


def build(family, *, device, dtype=torch.float32):
    row = FAMILIES[family]
    stock, tokenizer = BUILDERS[family]()
    stock = stock.to(device, dtype)
    stock.set_attn_implementation(dict(row.attention))
    fit_layers_to_gpu(stock)
    return row.build(stock, tokenizer, name="tiny", revision="0")


def group_of(model):
    geometry = model.frame_geometry(168, 140, min_pixels=2_000, max_pixels=30_000)
    shape = (4 * model.frames_per_patch, geometry.height, geometry.width, 3)
    return geometry, np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def launch(model):
    geometry, frames = group_of(model)
    prompts = [model.build_question(text, options, response_tokens=3) for text, options in QUESTIONS]
    features = model.encode(frames, geometry, batch_patches=3)
    prefix = model.prefill(features, geometry, patch_s=1.0, center_s_P=np.arange(4) + 0.25)
    return features, geometry, prompts, model.launch(prefix, prompts, CONFIG)


def answer(model, features, geometry, prompt):
    kept = torch.arange(0, len(features), 2)
    patch, place = kept // geometry.tokens_per_patch, kept % geometry.tokens_per_patch
    tokens = FinalTokens(
        features_KD=features[kept.to(features.device)],
        patch_K=patch.numpy(),
        time_s_K=patch.double().numpy(),
        row_K=(place // geometry.token_columns).numpy(),
        column_K=(place % geometry.token_columns).numpy(),
        geometry=geometry,
    )
    return model.answer(tokens, prompt, positions="compact", patch_s=1.0, max_tokens=3, config=CONFIG)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_float32_on_the_gpu_equals_the_cpu(family):
    results = []
    for device in ("cpu", "cuda"):
        model = build(family, device=device)
        features, geometry, prompts, launched = launch(model)
        results.append((features.cpu(), [*launched.read(), answer(model, features, geometry, prompts[0])]))
    (cpu_features, on_cpu), (gpu_features, on_gpu) = results
    torch.testing.assert_close(gpu_features, cpu_features, atol=1e-3, rtol=1e-3)
    for one, two in zip(on_cpu, on_gpu, strict=True):
        assert two.entropies == pytest.approx(one.entropies, abs=1e-3)
        assert two.option_probabilities == pytest.approx(one.option_probabilities, abs=1e-3)
        assert two.attention_N == pytest.approx(one.attention_N, abs=1e-3)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_bfloat16_stays_near_float32(family):
    reference, narrow = (build(family, device="cuda", dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    for one, two in zip(launch(reference)[3].read(), launch(narrow)[3].read(), strict=True):
        assert two.option_probabilities == pytest.approx(one.option_probabilities, abs=0.1)
        assert np.corrcoef(one.attention_N, two.attention_N)[0, 1] > 0.9


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_groups_pass_is_queued_without_one_synchronisation(family):
    model = build(family, device="cuda", dtype=torch.bfloat16)
    launch(model)[3].read()  # what depends on shapes only is built
    torch.cuda.set_sync_debug_mode("error")
    try:
        launched = launch(model)[3]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(launched.read()) == len(QUESTIONS)


def test_redundancy_is_removed_on_the_gpu_as_on_the_cpu():
    random = torch.Generator().manual_seed(5)
    features = torch.randn(600, 32, generator=random)
    times, scores = torch.rand(600, generator=random) * 60, torch.rand(600, generator=random)
    kept = [
        remove_redundant(features.to(device), times.to(device), scores.to(device), keep=500, proximity_s=10.0).tolist()
        for device in ("cpu", "cuda")
    ]
    assert kept[0] == kept[1]


def test_peak_memory_does_not_grow_with_the_number_of_frames():
    peaks = [
        measure_speed(
            SpeedCase(
                shape="tiny",
                num_frames=num_frames,
                question_counts=(1,),
                question_tokens=100,
                height=112,
                width=112,
                frames_per_group=64,
                token_budget=None,
                answer_tokens=2,
                question_batch=None,
                encode_patches=None,
                repeats=1,
                naive_groups=0,
                device="cuda",
                dtype=torch.bfloat16,
            )
        )
        .runs[0]
        .peak_bytes
        for num_frames in (512, 4_096)
    ]
    assert peaks[1] < 1.1 * peaks[0]
