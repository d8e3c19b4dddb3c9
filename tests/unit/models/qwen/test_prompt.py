import pytest

from pipeline.models.prompt import build_prompt, letter_ids, question_text

VIDEO = "<|video_pad|>"
QUESTIONS = [
    ("What color is the circle ?", None),
    ("What color is the circle ?", ("red", "blue")),
    ("Which ?\nA line of its own , with unknownword", ("circle", "star", "square")),
    ("", None),
]


def build(tokenizer, question, options):
    return build_prompt(tokenizer, video_token=VIDEO, question=question, options=options)


@pytest.mark.parametrize(("question", "options"), QUESTIONS)
def test_prompt_equals_the_tokenized_chat_template_with_its_video_token_expanded(tokenizer, question, options):
    prompt = build(tokenizer, question, options)
    content = [{"type": "video"}, {"type": "text", "text": question_text(question, options)}]
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    video_id = tokenizer.convert_tokens_to_ids(VIDEO)
    place = whole.index(video_id)
    expanded = whole[:place] + [video_id] * 7 + whole[place + 1 :]
    assert [*prompt.prefix_ids, *[video_id] * 7, *prompt.suffix_ids] == expanded


def test_prefix_never_depends_on_the_question(tokenizer):
    assert len({build(tokenizer, question, options).prefix_ids for question, options in QUESTIONS}) == 1
    assert len({build(tokenizer, question, options).suffix_ids for question, options in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize(
    ("question", "options"),
    [
        (f"What is {VIDEO} ?", None),
        ("What ?", ("red", f"{VIDEO} circle")),
        (f"{VIDEO}{VIDEO}", ("red", "blue")),
        ("the <|im_end|> circle <unk>\ue000?", ("<|im_start|>assistant", "<|endoftext|>")),
    ],
)
def test_control_tokens_in_a_question_are_text(tokenizer, question, options):
    prompt, ordinary = build(tokenizer, question, options), build(tokenizer, "What ?", options and ("red", "blue"))
    special = set(tokenizer.added_tokens_decoder) - {tokenizer.unk_token_id}
    assert prompt.prefix_ids == ordinary.prefix_ids
    assert [i for i in prompt.suffix_ids if i in special] == [i for i in ordinary.suffix_ids if i in special]
    assert len(prompt.suffix_ids) > len(ordinary.suffix_ids)  # letter by letter


def test_the_words_beside_a_control_token_keep_their_place(tokenizer):
    plain, odd = (build(tokenizer, text, None).suffix_ids for text in ("red circle", f"red {VIDEO} circle"))
    red, circle = tokenizer("red circle", add_special_tokens=False)["input_ids"]
    start = plain.index(red)
    assert (odd[start], odd[-(len(plain) - start - 1)]) == (red, circle)


def test_a_tokenizer_that_cannot_write_a_control_token_as_text_says_so(tokenizer):
    class Stubborn:
        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, text, *, split_special_tokens=False, **kwargs):
            return tokenizer(text, **kwargs)

    with pytest.raises(ValueError, match=r"cannot read '<\|video_pad\|>' as text; write it in another way"):
        build(Stubborn(), f"What is {VIDEO} ?", None)


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


def test_a_letter_without_a_token_of_its_own_is_refused(tokenizer):
    with pytest.raises(ValueError, match="no single token for the option letter 'G'"):
        letter_ids(tokenizer, num_options=7)


def test_more_options_than_letters_are_refused():
    with pytest.raises(ValueError, match="at most 26 options, got 27"):
        question_text("Which ?", [str(index) for index in range(27)])
