"""Every family with attention by parts and static generation against stock eager attention; what is chosen where."""

import copy
import dataclasses

import pytest
import torch

from pipeline.models import fast_paths
from pipeline.models.attention_check import Exactness
from pipeline.models.attention_probe import record_layers
from pipeline.models.fast_paths import STOCK_PATHS, FastPaths, choose_fast_paths
from pipeline.models.greedy import GrowingGreedy
from pipeline.models.prefix_attention import CascadePrefixAttention, DensePrefixAttention
from pipeline.models.static_greedy import StaticGreedy
from pipeline.settings.config import ScoringConfig
from tests.unit.models.families.case import assert_final_pass_equals, entropy

TOLERANCE = 2e-5
CPU = torch.device("cpu")


@pytest.fixture(
    params=[
        "cascade and slots",
        "cascade and a growing cache",
        pytest.param("mask and slots", marks=pytest.mark.slow),
    ]
)
def fast(case, request):
    """The case's adapter on fast paths; the usual ones afterwards."""
    if case.adapter._text.attention_shape is None:
        pytest.skip("layers of another kind: such models keep the usual paths, as a test below holds")
    paths = FastPaths(
        attention=CascadePrefixAttention() if "cascade" in request.param else DensePrefixAttention(),
        greedy=StaticGreedy(steps_per_read=4) if "slots" in request.param else GrowingGreedy(),
    )
    case.adapter.use(paths)
    yield case
    case.adapter.use(STOCK_PATHS)


def test_questions_over_a_shared_prefix_equal_a_full_eager_forward_each(fast, prefix, first_logits):
    prompts = fast.prompts(fast.adapter)
    responses = fast.score(prefix, prompts)
    for row, (question, prompt, response) in enumerate(zip(fast.questions, prompts, responses, strict=True)):
        run = fast.stock_run(question)
        torch.testing.assert_close(first_logits[0][row], run.logits_V, atol=TOLERANCE, rtol=0)
        assert response.attention_N == pytest.approx(run.weights_ARN.amax(dim=(0, 1)).numpy(), abs=TOLERANCE)
        ids, logits = fast.respond_stock(question, max_tokens=prompt.max_tokens)
        assert response.text == fast.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert response.entropies == pytest.approx([entropy(row) for row in logits], abs=TOLERANCE)


def test_a_final_pass_equals_the_stock_forward_and_a_naive_loop(fast, features, first_logits):
    prompt = fast.adapter.build_question(*fast.choice, response_tokens=4)
    tokens = fast.final_tokens(features, range(fast.num_tokens))
    response = fast.answer(tokens, prompt)
    assert_final_pass_equals(response, fast.stock_run(fast.choice), logits_V=first_logits[0][0], prompt=prompt)
    open_prompt = fast.adapter.build_question(fast.open_question, None, response_tokens=4)
    ids, logits = fast.respond_stock((fast.open_question, None), max_tokens=fast.answer_tokens)
    response = fast.answer(tokens, open_prompt)
    assert response.text == fast.tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert response.entropies == pytest.approx([entropy(row) for row in logits], abs=TOLERANCE)


@pytest.mark.parametrize("query_tokens", ["text", "last-token"])
@pytest.mark.parametrize("reduce", ["max", "mean"])
@pytest.mark.parametrize("case", ["qwen2_5_vl-wide", "qwen3_vl-small"], indirect=True, scope="session")
def test_whatever_attention_is_read_equals_eager_weights(case, prefix, query_tokens, reduce):
    prompts = case.prompts(case.adapter)
    case.adapter.use(FastPaths(attention=CascadePrefixAttention()))
    with record_layers() as by_layer:
        responses = case.score(prefix, prompts, query_tokens=query_tokens, attention_reduce=reduce)
    case.adapter.use(STOCK_PATHS)
    with record_layers() as expected_by_layer:
        case.score(prefix, prompts, query_tokens=query_tokens, attention_reduce=reduce)
    for question, response in zip(case.questions, responses, strict=True):
        weights_ARN = case.stock_run(question).weights_ARN
        rows = weights_ARN if query_tokens == "text" else weights_ARN[:, -1:]
        expected = rows.amax(dim=(0, 1)) if reduce == "max" else rows.mean(dim=(0, 1))
        assert response.attention_N == pytest.approx(expected.numpy(), abs=TOLERANCE)
    assert by_layer.keys() == expected_by_layer.keys() == set(range(case.adapter.num_layers))
    for layer, scores in by_layer.items():
        torch.testing.assert_close(scores, expected_by_layer[layer], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", ["qwen2_5_vl-wide"], indirect=True, scope="session")
def test_a_question_is_judged_the_same_alone_and_in_company_and_the_prefix_stays(case, prefix):
    before = [states.clone() for pair in prefix.layers for states in pair]
    prompts = case.prompts(case.adapter)
    case.adapter.use(FastPaths(attention=CascadePrefixAttention(), greedy=StaticGreedy(steps_per_read=4)))
    together = case.score(prefix, prompts)
    alone = [case.score(prefix, [prompt])[0] for prompt in prompts]
    case.adapter.use(STOCK_PATHS)
    for one, other in zip(together, alone, strict=True):
        assert one.text == other.text
        assert one.entropies == pytest.approx(other.entropies, abs=TOLERANCE)
        assert one.attention_N == pytest.approx(other.attention_N, abs=TOLERANCE)
    assert all(torch.equal(one, other) for one, other in zip(before, sum(prefix.layers, ()), strict=True))


@pytest.mark.parametrize("case", ["qwen2_5_vl-wide"], indirect=True, scope="session")
def test_in_bfloat16_what_comes_out_is_as_close_to_float32_as_with_the_mask(case, features):
    """Of the same weights; one rounding more in each layer is lost among all others."""
    half = copy.deepcopy(case.stock)
    for parameter in half.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)

    def first_entropies(stock, attention):
        adapter = case.as_adapter(stock)
        adapter.use(FastPaths(attention=attention))
        prefixes = [case.prefill(adapter, features.roll(shift, 0).to(adapter._text.dtype)) for shift in range(8)]
        config = ScoringConfig(reference_layer=case.layer, response_tokens=1)
        prompts = [dataclasses.replace(prompt, max_tokens=1) for prompt in case.prompts(adapter)]
        return torch.tensor([r.entropies[0] for p in prefixes for r in adapter.score(p, prompts, config)])

    expected = first_entropies(copy.deepcopy(half).float(), DensePrefixAttention())
    by_mask, by_parts = (first_entropies(half, way()) for way in (DensePrefixAttention, CascadePrefixAttention))
    errors = [(entropies - expected).square().mean().sqrt().item() for entropies in (by_mask, by_parts)]
    assert 0 < errors[1] < 1.3 * errors[0]


@pytest.mark.parametrize("case", ["qwen2_5_vl-wide"], indirect=True, scope="session")
def test_a_suffix_of_one_token_after_a_prefix_of_one_token(case):
    text, embeddings = case.adapter._text, torch.randn(1, case.adapter.similarity_dim)
    cache = text.new_cache()
    text.run(embeddings, torch.tensor([0]), cache=cache)
    hidden = []
    for attention in (DensePrefixAttention(), CascadePrefixAttention()):
        layers = tuple((layer.keys, layer.values) for layer in cache.layers)
        plan = attention.plan(text, [(0, 1), (1, 2)], 1)
        two, _ = attention.run(
            text, embeddings.repeat(2, 1) * 2, torch.tensor([1, 1]), layers=layers, plan=plan, probe=None
        )
        hidden.append(two)
    torch.testing.assert_close(*hidden, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(hidden[1][0], hidden[1][1], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", ["qwen2_5_vl-wide"], indirect=True, scope="session")
def test_fast_paths_are_taken_where_they_are_wanted_and_exact(case, monkeypatch, caplog):
    text = case.adapter._text
    assert choose_fast_paths(text, [CPU], is_wanted=False) is STOCK_PATHS
    chosen = choose_fast_paths(text, [CPU], is_wanted=True)
    assert isinstance(chosen.attention, CascadePrefixAttention)
    assert isinstance(chosen.greedy, GrowingGreedy)  # nothing is captured on a CPU
    assert chosen.describe() == {"questions": "by parts", "open_answers": "growing cache"}
    assert not caplog.records
    wrong = Exactness(error=2.0, usual_error=1.0, rounding=0.5, lse_error=0.0)
    monkeypatch.setattr(fast_paths, "measure_cascade", lambda *_: wrong)
    chosen = choose_fast_paths(text, [CPU], is_wanted=True)
    assert chosen.describe() == STOCK_PATHS.describe() == {"questions": "dense mask", "open_answers": "growing cache"}
    assert "attention by parts (cascade) is not used here: Exactness(error=2.0" in caplog.text


@pytest.mark.parametrize(("num_devices", "open_answers"), [(1, "captured steps"), (2, "growing cache")])
def test_steps_are_static_only_where_they_are_captured(monkeypatch, num_devices, open_answers):
    devices = [torch.device("cuda", index) for index in range(num_devices)]

    class Text:
        device, dtype, attention_shape = devices[0], torch.bfloat16, object()

    exact = Exactness(error=1.0, usual_error=1.0, rounding=0.5, lse_error=0.0)
    for name in ("measure_cascade", "measure_slots"):
        monkeypatch.setattr(fast_paths, name, lambda *_: exact)
    monkeypatch.setattr(fast_paths, "capture_on", lambda device: lambda step: step)
    found = choose_fast_paths(Text(), devices, is_wanted=True).describe()
    assert found == {"questions": "by parts", "open_answers": open_answers}


def test_models_with_other_layers_keep_the_usual_paths(monkeypatch):
    class Text:
        attention_shape = None

    assert choose_fast_paths(Text(), [CPU], is_wanted=True) is STOCK_PATHS


@pytest.mark.parametrize(
    ("changes", "is_exact"),
    [({}, True), ({"error": 1.6}, False), ({"error": 1.6, "rounding": 0.9}, True), ({"lse_error": 1e-3}, False),
     ({"error": float("nan")}, False), ({"lse_error": float("nan")}, False), ({"refusal": "no kernel"}, False)],
)  # fmt: skip
def test_parts_must_be_as_exact_as_the_usual_kernel_or_two_roundings(changes, is_exact):
    given = {"error": 1.5, "usual_error": 1.0, "rounding": 0.1, "lse_error": 1e-4} | changes
    assert Exactness(**given).is_exact is is_exact


def test_layers_of_another_kind_are_recognised(case):
    shape = case.adapter._text.attention_shape
    has_others = not all(hasattr(layer, "self_attn") for layer in case.adapter.stock.model.language_model.layers)
    assert has_others == (shape is None)
    if shape is None:
        return
    attention = next(m for m in case.adapter.stock.model.language_model.modules() if hasattr(m, "num_key_value_groups"))
    assert shape.heads // shape.key_heads == attention.num_key_value_groups
    assert (shape.head_dim, shape.scaling) == (attention.head_dim, pytest.approx(attention.scaling))
