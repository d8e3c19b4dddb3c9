"""A final pass over some of a clip's tokens: M-RoPE positions from presentation time, or close together."""

from dataclasses import replace

import pytest
import torch

from tests.unit.models.families.case import assert_final_pass_equals

TOLERANCE = 2e-5
FAR_S = 10  # between the patches of a long video


@pytest.fixture(scope="module")
def prompt(case):
    return case.adapter.build_question(*case.choice, response_tokens=4)


def keep(case, features, kept, *, seconds_apart):
    """Final tokens: the chosen tokens of the clip, whose patches are ``seconds_apart``."""
    return case.final_tokens(features, kept, apart=int(seconds_apart / case.patch_s))


def without(case, dropped, length):
    """Additive 4-D mask: causal, and nobody sees a dropped visual token."""
    allowed = torch.ones(length, length, dtype=torch.bool).tril()
    allowed[:, [len(case.prefix_ids) + index for index in dropped]] = False
    return torch.zeros(1, 1, length, length).masked_fill(~allowed, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("positions", ["absolute", "compact"])
def test_a_subset_equals_the_full_run_with_the_dropped_tokens_masked_out(
    case, features, prompt, first_logits, positions
):
    per_patch = case.per_patch
    kept = [0, per_patch - 1, 2 * per_patch, 2 * per_patch + 1]  # nothing of the middle patch
    dropped = sorted(set(range(case.num_tokens)) - set(kept))
    response = case.answer(keep(case, features, kept, seconds_apart=FAR_S), prompt, positions)

    rate = case.stock.config.vision_config.tokens_per_second
    second_patch = int(case.patch_s * rate)
    temporal = [0, FAR_S * rate, 2 * FAR_S * rate] if positions == "absolute" else [0, 0, second_patch]
    visual = case.visual_positions(temporal=temporal)
    length = len(case.prefix_ids) + case.num_tokens + len(prompt.suffix_ids)
    expected = case.run_at(
        prompt.suffix_ids,
        visual_positions=visual,
        text_start=max(max(visual[index]) for index in kept) + 1,
        attention_mask=without(case, dropped, length),
    )
    expected = replace(expected, weights_ARN=expected.weights_ARN[..., kept])
    assert_final_pass_equals(response, expected, logits_V=first_logits[0][0], prompt=prompt)


def test_far_positions_change_the_answer_and_compact_ones_do_not(case, features, prompt, first_logits):
    tokens = [keep(case, features, range(case.num_tokens), seconds_apart=apart) for apart in (1, 60)]
    for positions in ("compact", "absolute"):
        for kept in tokens:
            case.answer(kept, prompt, positions)
    compact_near, compact_far, absolute_near, absolute_far = first_logits
    assert torch.equal(compact_near, compact_far)
    assert (absolute_near - absolute_far).abs().max() > 10 * TOLERANCE
