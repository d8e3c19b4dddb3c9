"""Memory counted from what a checkpoint holds: packed weights, and heads that its configuration does not name."""

import json
import shutil
from collections import namedtuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2_5_VLForConditionalGeneration

from pipeline.models.checkpoint_config import read_checkpoint
from pipeline.models.devices.memory_plan import NO_WORK, estimate_need, measure_model
from pipeline.models.devices.stored_parts import scale_parts, sum_parts
from tests.unit.models.checkpoints.published_layout import write_published
from tests.unit.models.devices.published_shapes import qwen2_5_vl_7b, qwen2_5_vl_72b
from tests.unit.models.tiny_models import CASES, build_case

GIB = 1024**3
Stored = namedtuple("Stored", "dtype num_elements num_bytes")


def weight_bytes(size, element_bytes=2):
    return estimate_need(size, NO_WORK, element_bytes=element_bytes).weight_bytes


def awq_headers(config, *, group=128):
    """Names and sizes of an AWQ checkpoint of Qwen2.5-VL: the decoder's linear layers packed, all else in float16."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    found = {}
    for name, parameter in model.named_parameters():
        published = name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")
        count = parameter.numel()
        if ".layers." in published and parameter.dim() == 2:
            stem = published.removesuffix("weight")
            found[f"{stem}qweight"] = Stored("I32", count // 8, count // 2)
            found[f"{stem}qzeros"] = Stored("I32", count // group // 8, count // group // 2)
            found[f"{stem}scales"] = Stored("F16", count // group, 2 * count // group)
        else:
            found[published] = Stored("F16", count, 2 * count)
    return found


def test_a_72b_in_awq_is_judged_by_its_files_and_not_by_its_parameters():
    config = qwen2_5_vl_72b()
    size = measure_model(Qwen2_5_VLForConditionalGeneration, config)
    headers = awq_headers(config)
    packed = size.with_stored(sum_parts(size, headers))
    assert weight_bytes(size) / GIB == pytest.approx(136.7, abs=0.1)
    assert weight_bytes(packed) == sum(stored.num_bytes for stored in headers.values())
    assert weight_bytes(packed) / GIB < 40
    need = estimate_need(packed, NO_WORK, element_bytes=2)
    assert len(set(need.layer_bytes)) == 1
    assert need.layer_bytes[0] < 0.27 * 2 * size.layers["model.language_model.layers.0"]
    assert packed.num_parameters == size.num_parameters  # the arithmetic stays what it is


def test_fp8_and_bitsandbytes_count_as_stored_whatever_the_working_type():
    size = measure_model(Qwen2_5_VLForConditionalGeneration, qwen2_5_vl_72b())
    name = "model.layers.3.mlp.up_proj.weight"
    for dtype, num_bytes in (("F8_E4M3", 1_000), ("U8", 500), ("I8", 1_000)):
        packed = size.with_stored(sum_parts(size, {name: Stored(dtype, 1_000, num_bytes)}))
        assert [weight_bytes(packed, wide) for wide in (2, 4)] == [num_bytes, num_bytes]
    plain = size.with_stored(sum_parts(size, {name: Stored("F32", 1_000, 4_000)}))
    assert [weight_bytes(plain, wide) for wide in (2, 4)] == [2_000, 4_000]


def test_with_the_sum_alone_every_part_has_its_share():
    size = measure_model(Qwen2_5_VLForConditionalGeneration, qwen2_5_vl_72b())
    scaled = size.with_stored(scale_parts(size, 40 * GIB))
    assert weight_bytes(scaled) == pytest.approx(40 * GIB, rel=1e-6)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_files_of_every_family_as_published_give_the_same_bytes_as_its_parameters(name, tmp_path):
    case = build_case(name)
    write_published(tmp_path, case.stock, case.tokenizer)
    size = read_checkpoint("m", tmp_path).size
    parameters = sum(parameter.numel() for parameter in case.stock.parameters())
    assert size.num_parameters == parameters
    buffers = case.stock.state_dict().keys() - dict(case.stock.named_parameters()).keys()  # that are saved too
    counts = {name: case.stock.state_dict()[name].numel() for name in buffers}
    assert weight_bytes(size, 4) == 4 * (parameters + sum(counts.values()))
    for part, count in size.parts.items():
        assert size.weight_bytes(part, 1) == count + sum(n for name, n in counts.items() if name.startswith(f"{part}."))


def test_a_layer_beyond_the_models_is_not_counted_because_it_is_not_loaded():
    size = measure_model(Qwen2_5_VLForConditionalGeneration, qwen2_5_vl_7b())
    inside, beyond = (f"model.language_model.layers.{layer}.mlp.up_proj.weight" for layer in (27, 28))
    parts = sum_parts(size, {inside: Stored("BF16", 7, 14), beyond: Stored("BF16", 1_000, 2_000)})
    assert sum(part.elements for part in parts.values()) == parts["model.language_model.layers.27"].elements == 7


def internvl3_8b():
    """As published: no word about shared embeddings."""
    text = {"model_type": "qwen2", "vocab_size": 151_674, "hidden_size": 3_584, "intermediate_size": 18_944}
    text |= {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
    return {"model_type": "internvl", "text_config": text, "vision_config": {"attention_bias": True}}


@pytest.mark.parametrize("index", [None, ["language_model.lm_head.weight"], ["language_model.model.norm.weight"]])
def test_an_internvl3_that_does_not_say_so_counts_a_head_of_its_own_unless_there_is_none(tmp_path, index):
    (tmp_path / "config.json").write_text(json.dumps(internvl3_8b()))
    if index:
        content = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(index, "a.safetensors")}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(content))
    size = read_checkpoint("m", tmp_path).size
    raw = internvl3_8b()
    tied = measure_model(InternVLForConditionalGeneration, InternVLConfig(**raw), is_tied=True).num_parameters
    head = 151_674 * 3_584
    assert head / 1e9 == pytest.approx(0.54, abs=0.005)
    has_none = index == ["language_model.model.norm.weight"]
    assert size.num_parameters == tied + (0 if has_none else head)
    assert ("lm_head" in size.last) == (not has_none)


def test_a_checkpoint_that_says_it_shares_its_embedding_is_believed(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "tied")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    path.write_text(json.dumps(config))
    with_head, head = (
        read_checkpoint("m", saved).size,
        load_file(folder / "model.safetensors")["lm_head.weight"].numel(),
    )
    assert read_checkpoint("m", folder).size.num_parameters == with_head.num_parameters - head
    assert weight_bytes(read_checkpoint("m", folder).size) == weight_bytes(with_head) - 2 * head


def test_a_quantised_folder_is_judged_by_its_packed_weights(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.models.checkpoints.quantisation.find_spec", lambda module: object())
    folder = shutil.copytree(saved, tmp_path / "packed")
    weights = load_file(folder / "model.safetensors")
    names = [name for name in weights if ".layers." in name and "mlp" in name]
    removed = sum(weights[name].numel() for name in names)
    for name in names:
        weights[name.replace("weight", "qweight")] = torch.zeros(weights.pop(name).numel() // 8, dtype=torch.int32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    quantised = {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | quantised))
    before, after = read_checkpoint("m", saved).size, read_checkpoint("m", folder).size
    assert weight_bytes(before) - weight_bytes(after) == removed * 2 - removed // 8 * 4
    assert before.num_parameters == after.num_parameters
