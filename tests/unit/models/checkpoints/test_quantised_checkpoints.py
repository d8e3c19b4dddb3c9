"""Quantised checkpoints load and answer as stock transformers does with the same folder, where their package is.

All of them: the command is in docs/models.md; without a package its formats are skipped.
"""

import dataclasses
from importlib.metadata import version

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from pipeline.models.checkpoint_config import read_checkpoint
from pipeline.models.checkpoints.headers import read_header
from pipeline.models.devices.packed_weights import size_on
from pipeline.models.loading import load_model
from pipeline.settings.config import ModelConfig
from tests.unit.models.checkpoints.quantised_layout import FORMATS, build_wide_case, write_quantised
from tests.unit.models.families.case import entropy

# to stock; bitsandbytes' four bits round inputs to bfloat16 on a CPU, where the last bit of an input decides
TOLERANCE = dict.fromkeys(FORMATS, 2e-5) | {"bitsandbytes-4": 5e-3}
# of logits up to 2.8, to the weights by the format's rule: half precision inside, or inputs rounded to 8 bits, too
RULE = {"gptq": 5e-3, "awq": 5e-3, "bitsandbytes-4": 0.05, "bitsandbytes-8": 0.15, "compressed-tensors-8": 0.4}


@pytest.fixture(scope="module", params=sorted(FORMATS))
def quantised(request, tmp_path_factory):
    """Name of the format, folder, a model whose weights are those that the packed ones stand for."""
    for module in FORMATS[request.param].modules:
        pytest.importorskip(module, reason=f"{request.param} is loaded with {module}, which is not installed")
    folder, case = tmp_path_factory.mktemp(request.param), build_wide_case()
    write_quantised(folder, case, FORMATS[request.param])
    return request.param, folder, case


@pytest.fixture(scope="module")
def both(quantised):
    """Our model and stock over the same folder."""
    name, folder, case = quantised
    ours = load_model(ModelConfig(model=str(folder)), device="cpu")
    architecture = Qwen2_5_VLForConditionalGeneration
    stock = architecture.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    if name == "fp8":
        stock.float()  # transformers 5.17 unpacks it into bfloat16 whatever type is asked for
    return dataclasses.replace(case, adapter=ours, stock=stock, _runs={})


def test_a_group_pass_equals_stock_over_the_same_folder(quantised, both):
    near = TOLERANCE[quantised[0]]
    prefix, prompts = both.prefill(both.adapter, both.encode(both.adapter)), both.prompts(both.adapter)
    responses = both.score(prefix, prompts)
    for question, prompt, response in zip(both.questions, prompts, responses, strict=True):
        expected = both.stock_run(question)
        assert response.entropies[0] == pytest.approx(entropy(expected.logits_V), abs=near)
        scores_N = expected.weights_ARN.amax(dim=(0, 1)).numpy()
        largest = max(abs(response.entropies[0] - entropy(expected.logits_V)), *abs(response.attention_N - scores_N))
        print(f"{quantised[0]}: to stock {largest:.1e}")  # for docs/models.md
        assert response.attention_N == pytest.approx(scores_N, abs=near)
        if prompt.option_ids is not None:
            options = expected.logits_V[list(prompt.option_ids)].double().softmax(dim=-1)
            assert response.option_probabilities == pytest.approx(options.tolist(), abs=near)
        elif near < 1e-3:
            ids, _ = both.respond_stock(question, max_tokens=prompt.max_tokens)
            assert response.text == both.tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_the_packed_weights_stand_for_those_of_the_formats_rule(quantised, both):
    name, _, case = quantised
    near = 0.05 if name == "fp8" and version("transformers").startswith("5.17") else RULE.get(name, 1e-6)
    for question in case.questions:
        found, expected = both.stock_run(question).logits_V, case.run(question).logits_V
        assert expected.abs().max() > 1.5
        print(f"{name}: to the rule {float((found - expected).abs().max()):.1e}")
        assert float((found - expected).abs().max()) <= near


def test_the_memory_plan_counts_the_files_bytes_and_what_is_held(quantised, both):
    name, folder, case = quantised
    checkpoint = read_checkpoint("m", folder)
    assert checkpoint.quantiser == name.removesuffix("-4").removesuffix("-8")
    in_file = sum(
        tensor.num_elements * 4 if tensor.dtype in ("BF16", "F16", "F32") else tensor.num_bytes
        for path in folder.glob("*.safetensors")
        for tensor in read_header(path).values()
    )
    assert _bytes(checkpoint.size) == in_file < 0.7 * 4 * sum(own.numel() for own in case.stock.parameters())
    planned = _bytes(size_on(checkpoint.size, checkpoint.quantiser, ["cpu"]))
    model = both.adapter.stock
    held = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    assert planned == pytest.approx(held, rel=0.06)  # scales count in the working type, or stay beside the weights
    assert planned > 0.98 * held


def _bytes(size):
    return sum(size.weight_bytes(part, 4) for part in size.parts)
