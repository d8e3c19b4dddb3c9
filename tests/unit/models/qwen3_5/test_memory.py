"""The memory plan against the tensors that a tiny model really holds, and the figures of the published sizes."""

import dataclasses

import pytest
from transformers import Qwen3_5Config

from pipeline.models.checkpoints.headers import StoredTensor
from pipeline.models.devices.linear_layers import LinearLayers
from pipeline.models.devices.memory_plan import NO_WORK, PeakShapes, estimate_need, measure_model, plan_workload
from pipeline.models.devices.stored_parts import sum_parts
from pipeline.models.recurrent_prefix import LinearState
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import RunConfig

QUESTIONS = (("Is it?", ("red", "blue")), ("Or is?", ("red", "gold")))  # of one length
WORK = PeakShapes(
    prefix_tokens=0, prefix_copies=2, question_batch=2, question_tokens=0, vision_tokens=0, candidate_tokens=0
)


@pytest.fixture(scope="module")
def size(case):
    return measure_model(FAMILIES[case.family].architecture, case.stock.config)


def held(layers):
    """Bytes of each layer's tensors."""
    return [sum(tensor.untyped_storage().nbytes() for tensor in tensors) for tensors in layers]


def test_the_plan_counts_the_tensors_of_a_prefix_and_of_the_copies_that_questions_start_from(
    case, prefix, size, monkeypatch
):
    caches, make = [], case.adapter._text.new_cache
    monkeypatch.setattr(case.adapter._text, "new_cache", lambda: caches.append(make()) or caches[-1])
    prompts = [case.adapter.build_question(*question, response_tokens=1) for question in QUESTIONS]
    (length,) = {len(prompt.suffix_ids) for prompt in prompts}
    case.score(prefix, prompts)
    (cache,) = caches
    of_prefix = held(
        (layer.last_inputs, layer.state) if isinstance(layer, LinearState) else (layer.keys, layer.values)
        for layer in prefix.layers
    )
    of_copies = held(
        (layer.keys, layer.values)
        if hasattr(layer, "keys") and layer.keys is not None
        else (layer.conv_states[0], layer.recurrent_states[0])
        for layer in cache.layers
    )
    work = dataclasses.replace(WORK, prefix_tokens=prefix.length, question_tokens=length)
    need = estimate_need(size, work, element_bytes=4)
    planned = [have - count * 4 for have, count in zip(need.layer_bytes, size.layers.values(), strict=True)]
    assert planned == [one + two for one, two in zip(of_prefix, of_copies, strict=True)]
    kinds = case.stock.config.text_config.layer_types
    assert size.linear.numbers == {number for number, kind in enumerate(kinds) if kind == "linear_attention"}


def test_states_do_not_grow_with_the_prefix_and_keys_do(size):
    short, long = (
        estimate_need(size, dataclasses.replace(WORK, prefix_tokens=tokens), element_bytes=2).layer_bytes
        for tokens in (1_000, 3_000)
    )
    grown = {number for number, (one, two) in enumerate(zip(short, long, strict=True)) if two > one}
    assert grown == set(range(len(short))) - size.linear.numbers
    assert {two - one for one, two in zip(short, long, strict=True)} == {0, 2_000 * 3 * size.kv_elements * 2}


def test_weights_alone_count_no_states(size):
    need = estimate_need(size, NO_WORK, element_bytes=2)
    assert sum(need.layer_bytes) == 2 * sum(size.layers.values())


def test_layers_that_guess_tokens_ahead_are_no_part_of_the_decoder(size):
    """Published names look like the decoder's; stock code does not load them."""
    headers = {
        f"{start}.layers.0.mlp.gate_proj.weight": StoredTensor(dtype="BF16", shape=(count,), num_bytes=2 * count)
        for start, count in (("model.language_model", 7), ("mtp", 1_000))
    }
    assert sum(part.elements for part in sum_parts(size, headers).values()) == 7


def test_the_widest_feed_forward_of_experts_counts_the_one_that_all_tokens_share(case, size):
    text = case.stock.config.text_config
    expected = 2 * 24 + 40 if "moe" in case.family else text.intermediate_size
    assert size.intermediate == expected


def nine_b():
    """Qwen3.5-9B, by the defaults of the stock configuration."""
    rope = {"rope_type": "default", "rope_theta": 1e7, "mrope_section": [11, 11, 10], "partial_rotary_factor": 0.25}
    return Qwen3_5Config(
        text_config={"rope_parameters": rope, "max_position_embeddings": 262_144},
        vision_config={"out_hidden_size": 4_096},
    )


def test_the_9b_needs_a_copy_of_keys_per_question_in_eight_layers_and_states_in_the_others():
    config = nine_b()
    size, layout = (
        measure_model(FAMILIES["qwen3_5"].architecture, config),
        FAMILIES["qwen3_5"].read_layout(config),
    )
    assert size.num_parameters == 9_409_813_744
    assert size.linear == LinearLayers(
        numbers=frozenset(set(range(32)) - set(layout.ranking_layers)),
        conv_elements=4 * 8_192,
        state_elements=32 * 128 * 128,
        work_elements=32 * (7 * 128 + 4 * 128 + 256),
    )
    assert layout.ranking_layers == (3, 7, 11, 15, 19, 23, 27, 31)
    need = estimate_need(size, plan_workload(RunConfig(), layout), element_bytes=2)
    gib = 1024**3
    kept = (sum(need.layer_bytes) - 2 * sum(size.layers.values())) / gib
    assert kept == pytest.approx(2.52, abs=0.01)
    assert need.text_bytes / gib == pytest.approx(1.60, abs=0.01)
    assert need.total_bytes / gib == pytest.approx(22.63, abs=0.01)
