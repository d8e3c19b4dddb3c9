import numpy as np
import pytest
import torch

from pipeline.models.interface import FinalTokens
from pipeline.settings.config import ScoringConfig

TOLERANCE = 2e-5
ANSWER_TOKENS = 5
FAR = 10  # seconds between the patches of a long video


@pytest.fixture(scope="module")
def prompt(case):
    return case.adapter.build_question("Which color is it ?", ("red", "blue", "green"), response_tokens=4)


def keep(case, features, kept, *, seconds_apart):
    """Final tokens: the chosen tokens of the clip, whose patches are ``seconds_apart``."""
    per_patch = case.geometry.tokens_per_patch
    kept = np.asarray(kept)
    place = kept % per_patch
    return FinalTokens(
        features_KD=features[torch.from_numpy(kept)],
        patch_K=kept // per_patch,
        time_s_K=(kept // per_patch) * float(seconds_apart),
        row_K=place // case.geometry.token_columns,
        column_K=place % case.geometry.token_columns,
    )


def answer(case, tokens, prompt, positions):
    return case.adapter.answer(
        tokens,
        prompt,
        positions=positions,
        patch_s=case.patch_s,
        max_tokens=ANSWER_TOKENS,
        config=ScoringConfig(reference_layer=case.layer),
    )


def without(case, dropped, length):
    """Additive 4-D mask: causal, and nobody sees a dropped visual token."""
    allowed = torch.ones(length, length, dtype=torch.bool).tril()
    allowed[:, [len(case.prefix_ids) + index for index in dropped]] = False
    return torch.zeros(1, 1, length, length).masked_fill(~allowed, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("positions", ["absolute", "compact"])
def test_all_tokens_of_a_clip_equal_the_stock_forward(case, features, prompt, first_logits, positions):
    tokens = keep(case, features, range(case.num_tokens), seconds_apart=case.patch_s)
    response = answer(case, tokens, prompt, positions)
    expected = case.run_stock(prompt.suffix_ids)
    torch.testing.assert_close(first_logits[0][0], expected.logits[0, -1], atol=TOLERANCE, rtol=0)
    weights = case.visual_attention(expected.attentions).amax(dim=(0, 1))
    assert response.attention_N == pytest.approx(weights.numpy(), abs=TOLERANCE)
    assert len(response.entropies) == 1  # multiple choice is judged by its first token, whatever is said after it


@pytest.mark.parametrize("options", [None, ("red", "blue")], ids=["open", "multiple-choice"])
def test_the_answer_text_equals_a_naive_loop_without_cache(case, features, options):
    prompt = case.adapter.build_question("What is it ?", options, response_tokens=4)
    tokens = keep(case, features, range(case.num_tokens), seconds_apart=case.patch_s)
    response = answer(case, tokens, prompt, "absolute")
    ids, logits = case.respond_stock(prompt.suffix_ids, max_tokens=ANSWER_TOKENS)
    assert len(ids) > 1
    assert response.text == case.tokenizer.decode(ids, skip_special_tokens=True).strip()
    distributions = torch.stack(logits).double().softmax(dim=-1)
    entropies = -(distributions * distributions.log()).sum(dim=-1)
    assert response.entropies == pytest.approx(entropies.tolist()[: len(response.entropies)], abs=TOLERANCE)
    assert len(response.entropies) == (len(ids) if options is None else 1)


def test_the_final_pass_over_one_whole_group_equals_its_group_pass(case, features, prefix, prompt):
    tokens = keep(case, features, range(case.num_tokens), seconds_apart=case.patch_s)
    final = answer(case, tokens, prompt, "compact")
    (group,) = case.adapter.score(prefix, [prompt], ScoringConfig(reference_layer=case.layer))
    assert final.option_probabilities == pytest.approx(group.option_probabilities, abs=TOLERANCE)
    assert final.attention_N == pytest.approx(group.attention_N, abs=TOLERANCE)


@pytest.mark.parametrize("positions", ["absolute", "compact"])
def test_a_subset_equals_the_full_run_with_the_dropped_tokens_masked_out(
    case, features, prompt, first_logits, positions
):
    per_patch = case.geometry.tokens_per_patch
    kept = [0, per_patch - 1, 2 * per_patch, 2 * per_patch + 1]  # nothing of the middle patch
    dropped = sorted(set(range(case.num_tokens)) - set(kept))
    response = answer(case, keep(case, features, kept, seconds_apart=FAR), prompt, positions)

    rate = case.stock.config.vision_config.tokens_per_second
    second_patch = int(case.patch_s * rate)
    temporal = [0, FAR * rate, 2 * FAR * rate] if positions == "absolute" else [0, 0, second_patch]
    visual = case.visual_positions(temporal=temporal)
    length = len(case.prefix_ids) + case.num_tokens + len(prompt.suffix_ids)
    expected = case.run_stock(
        prompt.suffix_ids,
        visual_positions=visual,
        text_start=max(max(visual[index]) for index in kept) + 1,
        attention_mask=without(case, dropped, length),
    )
    torch.testing.assert_close(first_logits[0][0], expected.logits[0, -1], atol=TOLERANCE, rtol=0)
    weights = case.visual_attention(expected.attentions)[..., kept].amax(dim=(0, 1))
    assert response.attention_N == pytest.approx(weights.numpy(), abs=TOLERANCE)
    options = expected.logits[0, -1][list(prompt.option_ids)].softmax(dim=-1)
    assert response.option_probabilities == pytest.approx(options.tolist(), abs=TOLERANCE)


def test_far_positions_change_the_answer_and_compact_ones_do_not(case, features, prompt, first_logits):
    tokens = [keep(case, features, range(case.num_tokens), seconds_apart=apart) for apart in (1, 60)]
    for positions in ("compact", "absolute"):
        for kept in tokens:
            answer(case, kept, prompt, positions)
    compact_near, compact_far, absolute_near, absolute_far = first_logits
    assert torch.equal(compact_near, compact_far)
    assert (absolute_near - absolute_far).abs().max() > 10 * TOLERANCE
