"""Loading onto devices: refusals before weights are read, types and kernels, and hooks that move tensors."""

import accelerate
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from pipeline.failures import FailureClass, PipelineError
from pipeline.models import loading
from pipeline.models.attention_probe import PROBED_ATTENTION
from pipeline.models.devices import memory as device_memory
from pipeline.models.devices.map import module_devices
from pipeline.models.devices.memory_plan import measure_model
from pipeline.models.interface import FinalTokens
from pipeline.models.loading import choose_attention, choose_dtype, load_model
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ExecutionConfig, ModelConfig, RunConfig, ScoringConfig
from tests.unit.models.tiny_models import BUILDERS


def test_a_model_that_does_not_fit_is_refused_before_its_weights_are_read(saved, monkeypatch):
    monkeypatch.delattr(loading, "_load_weights")
    monkeypatch.setattr(device_memory, "free_bytes", lambda device: 2 * 1024**2)
    with pytest.raises(
        PipelineError, match=r"needs about 4\.6 MiB on cpu .* but 2.0 MiB are free; free memory"
    ) as caught:
        load_model(ModelConfig(model=str(saved)), device="cpu")
    assert caught.value.failure_class is FailureClass.OUT_OF_MEMORY


def test_memory_is_planned_for_the_settings_of_the_run(saved, monkeypatch):
    monkeypatch.setattr(device_memory, "free_bytes", lambda device: 512 * 1024**2)
    config = ModelConfig(model=str(saved))
    modest = RunConfig(model=config, scoring=ScoringConfig(question_batch=1, encode_patches=4))
    assert load_model(config, device="cpu", run=modest).num_layers == 4
    greedy = RunConfig(model=config, scoring=ScoringConfig(question_batch=64))
    with pytest.raises(PipelineError, match=r"a lower scoring\.question_batch"):
        load_model(config, device="cpu", run=greedy)


def test_a_worker_that_sees_fewer_gpus_than_it_was_given_says_so(saved, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    config = ModelConfig(model=str(saved))
    run = RunConfig(model=config, execution=ExecutionConfig(gpus_per_scorer=2))
    with pytest.raises(PipelineError, match="gpus_per_scorer must be at most the 1 GPUs this worker sees, got 2"):
        load_model(config, run=run)


def test_more_gpus_than_layers_are_refused_with_the_number_of_layers(saved, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    config = ModelConfig(model=str(saved))
    run = RunConfig(model=config, execution=ExecutionConfig(gpus_per_scorer=8))
    with pytest.raises(PipelineError, match=r"gpus_per_scorer must be at most the 4 layers of model .*, got 8"):
        load_model(config, run=run)


@pytest.mark.parametrize(
    ("num_visible", "gpus_per_scorer", "devices"),
    [
        (0, 0, ["cpu"]),
        (0, 1, ["cpu"]),
        (0, None, ["cpu"]),
        (1, 0, ["cpu"]),  # asked for, though Ray hides no GPU from a worker without one
        (8, None, ["cuda:0"]),
        (4, 0.5, ["cuda:0"]),
        (4, 1, ["cuda:0"]),
        (4, 2, ["cuda:0", "cuda:1"]),
    ],
)
def test_a_worker_takes_the_gpus_it_was_given(monkeypatch, num_visible, gpus_per_scorer, devices):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_visible)
    assert loading._visible_devices(gpus_per_scorer) == devices


@pytest.fixture
def default_precision():
    """TF32 as torch has it by default: in cuDNN, not in matrix products."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize(("dtype", "is_tf32"), [("float32", False), ("bfloat16", True)])
@pytest.mark.usefixtures("default_precision")
def test_where_float32_is_asked_for_no_bit_of_it_is_given_away(saved, dtype, is_tf32):
    load_model(ModelConfig(model=str(saved), dtype=dtype), device="cpu")
    assert torch.backends.cudnn.allow_tf32 is is_tf32
    assert torch.backends.cuda.matmul.allow_tf32 is is_tf32


@pytest.mark.parametrize(
    ("dtype", "device", "expected"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "cuda:0", torch.bfloat16),
        ("float16", "cuda:1", torch.float16),
        ("float32", "cuda:0", torch.float32),
    ],
)
def test_weights_are_bfloat16_on_gpus_and_float32_elsewhere_unless_asked(dtype, device, expected):
    assert choose_dtype(ModelConfig(dtype=dtype), device) == expected


@pytest.mark.parametrize(
    ("has_flash", "attention", "device", "dtype", "is_flash"),
    [
        (True, "auto", "cuda:0", torch.bfloat16, True),
        (True, "auto", "cuda:0", torch.float16, True),
        (False, "auto", "cuda:0", torch.bfloat16, False),
        (True, "sdpa", "cuda:0", torch.bfloat16, False),
        (True, "auto", "cuda:0", torch.float32, False),
        (True, "auto", "cpu", torch.bfloat16, False),
    ],
)
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_vision_tower_takes_flash_where_it_runs_and_text_stays_probed(
    monkeypatch, name, has_flash, attention, device, dtype, is_flash
):
    monkeypatch.setattr(loading, "is_flash_attn_2_available", lambda: has_flash)
    family = FAMILIES[name]
    chosen = choose_attention(family, ModelConfig(attention=attention), device=device, dtype=dtype)
    expected = "flash_attention_2" if is_flash else family.attention["vision_config"]
    assert chosen == {"text_config": PROBED_ATTENTION, "vision_config": expected}


def look(model):
    """Scores of two questions about one clip, and the answer over half of its tokens."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)
    geometry = model.frame_geometry(64, 96, min_pixels=784, max_pixels=8_000)
    features = model.encode(frames, geometry, batch_patches=2)
    prefix = model.prefill(features, geometry, patch_s=1.0)
    prompts = [
        model.build_question(question, options, response_tokens=3)
        for question, options in (("What color is the circle ?", ("red", "blue")), ("What is it ?", None))
    ]
    config = ScoringConfig(reference_layer=1)
    responses = model.score(prefix, prompts, config)
    kept = np.arange(0, len(features), 2)
    patch_K, place_K = np.divmod(kept, geometry.tokens_per_patch)
    tokens = FinalTokens(
        features_KD=features[torch.from_numpy(kept)],
        patch_K=patch_K,
        time_s_K=patch_K.astype(np.float64),
        row_K=place_K // geometry.token_columns,
        column_K=place_K % geometry.token_columns,
        geometry=geometry,
    )
    answer = model.answer(tokens, prompts[1], positions="compact", patch_s=1.0, max_tokens=3, config=config)
    return [*responses, answer]


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_model_in_parts_whose_borders_move_tensors_answers_alike(name):
    family = FAMILIES[name]
    model, tokenizer = BUILDERS[name]()
    size = measure_model(family.architecture, model.config)
    model.set_attn_implementation(dict(family.attention))
    expected = look(family.build(model, tokenizer, name="m", revision="0"))
    device_map = dict.fromkeys(module_devices(size, (1, len(size.layers) - 1)), "cpu")
    accelerate.dispatch_model(
        model, device_map, main_device="cpu", force_hooks=True, skip_keys=model._skip_keys_device_placement
    )
    assert all(hasattr(model.get_submodule(part), "_hf_hook") for part, count in size.layers.items() if count)
    actual = look(family.build(model, tokenizer, name="m", revision="0"))
    for one, other in zip(actual, expected, strict=True):
        assert (one.text, one.entropies) == (other.text, other.entropies)
        np.testing.assert_array_equal(one.attention_N, other.attention_N)


@pytest.mark.parametrize(
    ("num_visible", "gpus_per_scorer", "expected"),
    [(0, 0, None), (1, 1, {"": torch.device("cuda:0")}), (2, 2, None)],
    ids=["cpu", "one-gpu", "two-gpus"],
)
def test_transformers_is_told_where_the_parts_go(saved, monkeypatch, num_visible, gpus_per_scorer, expected):
    told = {}

    class StopHereError(Exception):
        pass

    def record(architecture, folder, *, dtype, device_map):
        told.update(dtype=dtype, device_map=device_map)
        raise StopHereError

    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_visible)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (139 << 30, 139 << 30))
    monkeypatch.setattr(loading, "_load_weights", record)
    config = ModelConfig(model=str(saved))
    run = RunConfig(model=config, execution=ExecutionConfig(gpus_per_scorer=gpus_per_scorer))
    with pytest.raises(StopHereError):
        load_model(config, run=run)
    if num_visible < 2:
        assert told["device_map"] == expected
    else:
        layers = {part: number for part, number in told["device_map"].items() if ".layers." in part}
        assert list(layers.values()) == [0, 1, 1, 1]  # candidates and the tower weigh more than these layers
        assert (told["device_map"]["model.visual"], told["device_map"]["lm_head"]) == (0, 1)
    assert told["dtype"] == (torch.bfloat16 if num_visible else torch.float32)


def test_a_device_map_onto_one_device_loads_alike(saved):
    expected = look(load_model(ModelConfig(model=str(saved)), device="cpu"))
    family = FAMILIES["qwen2_5_vl"]
    model = loading._load_weights(
        family.architecture, str(saved), dtype=torch.float32, device_map={"": torch.device("cpu")}
    )
    model.set_attn_implementation(dict(family.attention))
    tokenizer = AutoTokenizer.from_pretrained(saved)
    actual = look(family.build(model.eval(), tokenizer, name="m", revision="0"))
    for one, other in zip(actual, expected, strict=True):
        # not bit for bit: weights mapped from a file are aligned otherwise
        assert one.entropies == pytest.approx(other.entropies, abs=1e-5)
        assert one.text == other.text
