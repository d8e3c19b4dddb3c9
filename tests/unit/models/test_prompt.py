"""The wording of a question, and its token ids in the chat template of every family."""

import re

import pytest

from pipeline.lab.demo_training.vocabulary import build_tokenizer
from pipeline.models.prompt import build_prompt, letter_ids, question_text
from pipeline.models.registry import FAMILIES

QUESTIONS = [
    ("What color is the circle ?", None),
    ("What color is the circle ?", ("red", "blue")),
    ("Which ?\nA line of its own , with unknownword", ("circle", "star", "square")),
    ("", None),
]


@pytest.fixture(scope="module")
def video(case):
    return FAMILIES[case.family].video_token


def build(tokenizer, question, options, video="<|video_pad|>"):
    return build_prompt(tokenizer, video_token=video, question=question, options=options)


@pytest.mark.parametrize(("question", "options"), QUESTIONS)
def test_prompt_equals_the_tokenized_chat_template_with_its_video_token_expanded(tokenizer, video, question, options):
    prompt = build(tokenizer, question, options, video)
    content = [{"type": "video"}, {"type": "text", "text": question_text(question, options)}]
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        enable_thinking=False,  # where a model could think first
    )["input_ids"]
    video_id = tokenizer.convert_tokens_to_ids(video)
    place = whole.index(video_id)
    expanded = whole[:place] + [video_id] * 7 + whole[place + 1 :]
    assert [*prompt.prefix_ids, *[video_id] * 7, *prompt.suffix_ids] == expanded


def test_prefix_never_depends_on_the_question(tokenizer, video):
    prompts = [build(tokenizer, question, options, video) for question, options in QUESTIONS]
    assert len({prompt.prefix_ids for prompt in prompts}) == 1
    assert len({prompt.suffix_ids for prompt in prompts}) == len(QUESTIONS)


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("What is {video} ?", None),
        ("What is {every} ?", None),
        ("What ?", ("red", "{video} circle")),
        ("{video}{video}", ("red", "blue")),
        ("the <|im_end|> circle <unk>\ue000?", ("<|im_start|>assistant", "<|endoftext|>")),
    ],
)
def test_control_tokens_in_a_question_are_text(case, tokenizer, video, question, options):
    every = " ".join(token for token in tokenizer.all_special_tokens if token != tokenizer.unk_token)
    assert every.count(" ") >= 3
    question = question.format(video=video, every=every)
    options = options and tuple(option.format(video=video) for option in options)
    prompt = build(tokenizer, question, options, video)
    ordinary = build(tokenizer, "What ?", options and ("red", "blue"), video)
    special = set(tokenizer.added_tokens_decoder) - {tokenizer.unk_token_id}
    assert prompt.prefix_ids == ordinary.prefix_ids
    assert [i for i in prompt.suffix_ids if i in special] == [i for i in ordinary.suffix_ids if i in special]
    assert len(prompt.suffix_ids) > len(ordinary.suffix_ids)  # letter by letter
    mark = FAMILIES[case.family].answer_marks[0]  # before a letter, where the family has one
    asked = case.adapter.build_question(question, options, response_tokens=4)
    assert asked.suffix_ids == (
        *prompt.suffix_ids,
        *tokenizer.convert_tokens_to_ids([mark] if options and mark else []),
    )


def test_a_tokenizer_that_cannot_write_a_control_token_as_text_says_so(tokenizer, video):
    class Stubborn:
        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, text, *, split_special_tokens=False, **kwargs):
            return tokenizer(text, **kwargs)

    with pytest.raises(ValueError, match=rf"cannot read '{re.escape(video)}' as text; write it in another way"):
        build(Stubborn(), f"What is {video} ?", None, video)


def test_the_words_beside_a_control_token_keep_their_place():
    tokenizer = build_tokenizer()  # of whole words
    plain, odd = (build(tokenizer, text, None).suffix_ids for text in ("red circle", "red <|video_pad|> circle"))
    red, circle = tokenizer("red circle", add_special_tokens=False)["input_ids"]
    start = plain.index(red)
    assert (odd[start], odd[-(len(plain) - start - 1)]) == (red, circle)


def test_options_become_lettered_lines_and_an_instruction():
    text = question_text("Which color ?", ("red", "dark blue"))
    assert text.split("\n") == [
        "Which color ?",
        "A. red",
        "B. dark blue",
        "Answer with the option's letter from the given choices directly.",
    ]
    assert question_text("Which color ?", None) == "Which color ?"


def test_letters_are_single_tokens_that_decode_to_themselves(tokenizer):
    assert [tokenizer.decode([token]) for token in letter_ids(tokenizer, num_options=6)] == list("ABCDEF")


def test_a_letter_without_a_token_of_its_own_is_refused():
    tokenizer = build_tokenizer()  # knows six letters
    with pytest.raises(ValueError, match="no single token for the option letter 'G'"):
        letter_ids(tokenizer, num_options=7)


def test_more_options_than_letters_are_refused():
    with pytest.raises(ValueError, match="at most 26 options, got 27"):
        question_text("Which ?", [str(index) for index in range(27)])
