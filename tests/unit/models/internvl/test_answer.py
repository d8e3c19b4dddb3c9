import numpy as np
import pytest
import torch

from pipeline.models.interface import FinalTokens
from pipeline.models.prompt import question_text
from pipeline.settings.config import ScoringConfig
from tests.unit.models.internvl.stock_internvl import entropy

TOLERANCE = 2e-5
ANSWER_TOKENS = 5
QUESTION, OPTIONS = "Which colour is it?", ("red", "blue", "green")
POSITIONS = pytest.mark.parametrize("positions", ["absolute", "compact"])


@pytest.fixture(scope="module")
def prompt(case):
    return case.adapter.build_question(QUESTION, OPTIONS, response_tokens=4)


def keep(case, features, kept, *, patches_apart=1):
    """Final tokens: the chosen tokens of the clip, whose frames are ``patches_apart`` in the video."""
    per_frame = case.geometry.tokens_per_patch
    kept = np.asarray(kept)
    place = kept % per_frame
    return FinalTokens(
        features_KD=features[torch.from_numpy(kept)],
        patch_K=kept // per_frame * patches_apart,
        time_s_K=(kept // per_frame) * float(patches_apart),
        row_K=place // case.geometry.token_columns,
        column_K=place % case.geometry.token_columns,
    )


def answer(case, tokens, prompt, positions):
    return case.adapter.answer(
        tokens,
        prompt,
        positions=positions,
        patch_s=1.0,
        max_tokens=ANSWER_TOKENS,
        config=ScoringConfig(reference_layer=case.layer),
    )


@POSITIONS
def test_all_tokens_of_a_clip_equal_the_stock_forward(case, features, prompt, first_logits, positions):
    response = answer(case, keep(case, features, range(case.num_tokens)), prompt, positions)
    ids = case.clip_ids(question_text(QUESTION, OPTIONS))
    expected = case.run_stock(ids)
    torch.testing.assert_close(first_logits[0][0], expected.logits[0, -1], atol=TOLERANCE, rtol=0)
    weights = case.visual_attention(expected.attentions, ids).amax(dim=(0, 1))
    assert response.attention_N == pytest.approx(weights.numpy(), abs=TOLERANCE)
    assert len(response.entropies) == 1  # multiple choice is judged by its first token, whatever is said after it


@pytest.mark.parametrize("options", [None, OPTIONS], ids=["open", "multiple-choice"])
def test_the_answer_text_equals_a_naive_loop_without_cache(case, features, options):
    prompt = case.adapter.build_question(QUESTION, options, response_tokens=4)
    response = answer(case, keep(case, features, range(case.num_tokens)), prompt, "compact")
    said, logits = case.respond_stock(case.clip_ids(question_text(QUESTION, options)), max_tokens=ANSWER_TOKENS)
    assert len(said) > 1
    assert response.text == case.tokenizer.decode(said, skip_special_tokens=True).strip()
    entropies = [entropy(row) for row in logits]
    assert response.entropies == pytest.approx(entropies[: len(response.entropies)], abs=TOLERANCE)
    assert len(response.entropies) == (len(said) if options is None else 1)


@pytest.mark.parametrize(("positions", "shown"), [("absolute", (2, 2)), ("compact", (4,))])
@pytest.mark.parametrize("patches_apart", [1, 2_500], ids=["near", "Frame5000-of-the-video"])
def test_a_subset_equals_the_stock_forward_over_renumbered_frames(
    case, features, prompt, first_logits, positions, shown, patches_apart
):
    per_frame = case.geometry.tokens_per_patch
    kept = [0, per_frame - 1, 2 * per_frame, 2 * per_frame + 1]  # nothing of the middle frame
    response = answer(case, keep(case, features, kept, patches_apart=patches_apart), prompt, positions)

    frames = [f"Frame{i}: <img>{'<IMG_CONTEXT>' * count}</img>" for i, count in enumerate(shown, start=1)]
    ids = case.chat("\n".join(frames), question_text(QUESTION, OPTIONS))
    expected = case.run_stock(ids, features=features[kept])
    torch.testing.assert_close(first_logits[0][0], expected.logits[0, -1], atol=TOLERANCE, rtol=0)
    weights = case.visual_attention(expected.attentions, ids).amax(dim=(0, 1))
    assert response.attention_N == pytest.approx(weights.numpy(), abs=TOLERANCE)
    options = expected.logits[0, -1][list(prompt.option_ids)].softmax(dim=-1)
    assert response.option_probabilities == pytest.approx(options.tolist(), abs=TOLERANCE)


@POSITIONS
def test_the_final_pass_over_one_whole_group_equals_its_group_pass(case, features, prefix, prompt, positions):
    final = answer(case, keep(case, features, range(case.num_tokens)), prompt, positions)
    (group,) = case.adapter.score(prefix, [prompt], ScoringConfig(reference_layer=case.layer))
    assert final.option_probabilities == pytest.approx(group.option_probabilities, abs=TOLERANCE)
    assert final.attention_N == pytest.approx(group.attention_N, abs=TOLERANCE)


def test_dropping_tokens_changes_the_answer(case, features, prompt, first_logits):
    for kept in (range(case.num_tokens), range(1, case.num_tokens)):
        answer(case, keep(case, features, kept), prompt, "compact")
    assert (first_logits[0] - first_logits[1]).abs().max() > 10 * TOLERANCE
