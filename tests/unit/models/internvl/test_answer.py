"""A final pass over some of a clip's tokens: frames are numbered anew, thinly kept ones share one."""

import pytest

from pipeline.models.prompt import question_text
from tests.unit.models.families.case import assert_final_pass_equals


@pytest.mark.parametrize(("positions", "shown"), [("absolute", (2, 2)), ("compact", (4,))])
@pytest.mark.parametrize("patches_apart", [1, 2_500], ids=["near", "Frame5000-of-the-video"])
def test_a_subset_equals_the_stock_forward_over_renumbered_frames(
    case, features, first_logits, positions, shown, patches_apart
):
    prompt = case.adapter.build_question(*case.choice, response_tokens=4)
    kept = [0, case.per_patch - 1, 2 * case.per_patch, 2 * case.per_patch + 1]  # nothing of the middle frame
    response = case.answer(case.final_tokens(features, kept, apart=patches_apart), prompt, positions)
    frames = [f"Frame{i}: <img>{'<IMG_CONTEXT>' * count}</img>" for i, count in enumerate(shown, start=1)]
    expected = case.run_features(case.chat("\n".join(frames), question_text(*case.choice)), features[kept])
    assert_final_pass_equals(response, expected, logits_V=first_logits[0][0], prompt=prompt)
