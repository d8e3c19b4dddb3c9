import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.internvl.prompt import build_frame_prompt, count_by_frame
from pipeline.models.prompt import question_text
from tests.unit.models.families.internvl import expand_video
from tests.unit.models.families.tiny_internvl import build_tokenizer

USER = "<|im_start|>user\n"
QUESTIONS = [
    ("What colour is it?", None),
    ("What colour is it?", ("red", "blue")),
    ("\nA question that starts with a line break\n\nand ends with two\n\n", ("é", "ü")),
    ("", None),
]


@pytest.mark.parametrize("num_frames", [1, 3, 12])
@pytest.mark.parametrize(("question", "options"), QUESTIONS)
def test_ids_equal_the_stock_processors_expansion_tokenized_in_one_piece(case, num_frames, question, options):
    content = [{"type": "video"}, {"type": "text", "text": question_text(question, options)}]
    rendered = case.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    expanded = rendered.replace("<video>", expand_video(case.tokenizer, num_frames=num_frames, tokens_per_frame=5))
    expected = case.tokenizer(expanded, add_special_tokens=False)["input_ids"]

    prompt = build_frame_prompt(case.tokenizer, USER, tokens_by_frame=[5] * num_frames)
    suffix = case.adapter.build_question(question, options, response_tokens=4).suffix_ids
    assert [*prompt.ids_T, *suffix] == expected
    context = case.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    assert prompt.visual.tolist() == [place for place, token in enumerate(expected) if token == context]


def test_frames_are_numbered_in_order_and_hold_their_own_counts(tokenizer):
    prompt = build_frame_prompt(tokenizer, USER, tokens_by_frame=[2, 1])
    assert tokenizer.decode(prompt.ids_T) == (
        f"{USER}Frame1: <img><IMG_CONTEXT><IMG_CONTEXT></img>\nFrame2: <img><IMG_CONTEXT></img>"
    )


def test_a_tokenizer_of_another_family_is_refused(tokenizer):
    class Foreign:
        unk_token_id = None

        def convert_tokens_to_ids(self, token):
            return None

    with pytest.raises(ValueError, match=r"no token '<img>', .*InternVL3-8B-hf"):
        build_frame_prompt(Foreign(), USER, tokens_by_frame=[1])


@pytest.mark.parametrize("control", ["<video>", "<IMG_CONTEXT>", "<|im_end|>"])
def test_control_tokens_in_a_question_are_text(case, control):
    suffix = case.adapter.build_question(f"What is {control} here?", None, response_tokens=4).suffix_ids
    expected = f"\nWhat is {control} here?<|im_end|>\n<|im_start|>assistant\n"
    assert case.tokenizer.decode(suffix) == expected
    special = [token for token in suffix if token in case.tokenizer.added_tokens_decoder]
    assert case.tokenizer.convert_ids_to_tokens(special) == ["<|im_end|>", "<|im_start|>"]


@pytest.mark.parametrize(
    ("kept_by_frame", "compact"),
    [
        ([256, 256], [256, 256]),
        ([200, 50, 7, 256], [250, 7, 256]),
        ([1] * 257, [256, 1]),
        ([256, 1, 255, 1], [256, 256, 1]),
        ([3], [3]),
    ],
)
def test_thinly_kept_frames_share_one_up_to_a_whole_frames_tokens(kept_by_frame, compact):
    patch_K = np.repeat(np.arange(len(kept_by_frame)) * 1_000 + 17, kept_by_frame)
    assert count_by_frame(patch_K, positions="compact", tokens_per_frame=256) == compact
    assert count_by_frame(patch_K, positions="absolute", tokens_per_frame=256) == kept_by_frame


@given(kept=st.lists(st.integers(1, 16), min_size=1, max_size=60))
def test_compact_frames_are_never_overfull_and_never_needlessly_many(kept):
    patch_K = np.repeat(np.arange(len(kept)), kept)
    shown = count_by_frame(patch_K, positions="compact", tokens_per_frame=16)
    assert sum(shown) == sum(kept)
    assert max(shown) <= 16
    assert set(itertools.accumulate(shown)) <= set(itertools.accumulate(kept))  # no frame is torn apart
    assert all(one + two > 16 for one, two in itertools.pairwise(shown))


def test_an_unknown_way_to_show_frames_is_refused():
    with pytest.raises(
        ValueError, match="positions must be one of 'absolute', 'compact', 'patch-index', got 'relative'"
    ):
        count_by_frame(np.arange(3), positions="relative", tokens_per_frame=4)


def test_a_budget_spread_over_thousands_of_frames_stays_a_short_prompt():
    tokenizer = build_tokenizer()
    patch_K = np.sort(np.random.default_rng(0).integers(0, 10_000, 7_040))
    lengths = {
        positions: len(
            build_frame_prompt(
                tokenizer,
                USER,
                tokens_by_frame=count_by_frame(patch_K, positions=positions, tokens_per_frame=256),
            ).ids_T
        )
        for positions in ("compact", "absolute")
    }
    assert lengths["compact"] < 7_040 + 400
    assert lengths["absolute"] > 7_040 + 30_000
