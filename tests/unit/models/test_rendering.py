"""Chat templates as programs of strangers: what they write is stock's, and what they cannot do is hold anybody up."""

import pickle

import pytest

from pipeline.lab.demo_training.vocabulary import build_tokenizer
from pipeline.models import rendering
from pipeline.models.prompt import build_prompt
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.models.rendering import render_apart, surroundings_of
from tests.attacks.chat_templates import HOSTILE
from tests.unit.models.checkpoints.published_layout import TOOLS_TEMPLATE, VISION_TEMPLATE

VIDEO = "<|video_pad|>"
TEXT = (
    "{% for part in messages[0].content %}{% if part.type == 'video' %}<|video_pad|>{% else %}{TEXT}{% endif %}"
    "{% endfor %}"
)
FEATURES = (
    "{%- for m in messages -%}\n  {% if loop.index0 > 5 %}{% break %}{% endif %}\n{{ m | tojson }}\n{% endfor %}",
    "{% generation %}{{ messages[0].role }}{% endgeneration %}{{ bos_token }}{{ tools is none }}"
    "{{ add_generation_prompt }}",
    "{% set n = namespace(x=1) %}{% set n.x = n.x + 1 %}{{ n.x }}{{ dict(a=1) }}{{ messages[0].content | length }}",
    "{{ strftime_now('%Y') }}  {# a comment #}\n{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m('y') }}\n\n",
    "{{ messages | tojson(indent=2) }}{{ documents is defined }}{{ 'a<b&é' | tojson }}",
)


def with_template(template):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rendering, "DEADLINE_S", 5.0)
    rendering._find_surroundings.cache_clear()


@pytest.mark.parametrize("template", [VISION_TEMPLATE, *FEATURES])
def test_a_process_of_its_own_writes_what_stock_transformers_writes(template):
    tokenizer, texts = with_template(template), ("What is shown?", '  <b>{{ 1 }}</b> & "quoted"\n')
    expected = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}],
            tokenize=False,
            add_generation_prompt=True,
        )
        for text in texts
    ]
    assert render_apart(template, dict(tokenizer.special_tokens_map), texts) == expected


@pytest.mark.parametrize("name", sorted(set(HOSTILE) - {"loops"}))
def test_a_hostile_template_is_one_line(name):
    with pytest.raises(ValueError, match="the chat template") as caught:
        surroundings_of(with_template(HOSTILE[name]), video_token=VIDEO)
    assert "chat_template.jinja" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_template_that_does_not_end_is_ended_at_its_deadline():
    with pytest.raises(ValueError, match=r"takes more than 0\.5 s for a few questions; put the vision model's own"):
        render_apart(HOSTILE["loops"], {}, ("a",), deadline_s=0.5)


def test_no_question_runs_the_template_again_not_even_in_another_process(monkeypatch):
    tokenizer = QuestionTokenizer(build_tokenizer(), video_token=VIDEO)
    expected = tokenizer.build("What color ?", None, response_tokens=4)
    packed = pickle.dumps(tokenizer)
    rendering._find_surroundings.cache_clear()

    def fail(*_, **__):
        raise AssertionError("the template ran again")

    monkeypatch.setattr(rendering, "render_apart", fail)
    for again in (tokenizer, pickle.loads(packed)):
        assert again.build("What color ?", None, response_tokens=4) == expected
        assert again.build("Which {% one %}  ?\n", ("a", "b"), response_tokens=4).suffix_ids


@pytest.mark.parametrize(
    ("expression", "trims"),
    [
        ("{{ part.text }}", "nowhere"),
        ("{{ part.text | trim }}", "at both ends"),
        ("{{ ('x' + part.text) | trim }}", "at its end"),  # as of a whole message, which begins with the video
    ],
)
def test_a_template_may_trim_a_question_and_is_then_followed(expression, trims):
    tokenizer = with_template("before " + TEXT.replace("{TEXT}", expression) + " after")
    found = surroundings_of(tokenizer, video_token=VIDEO)
    assert found.trims == trims
    for text in (" What ?\n", "What"):
        stock = tokenizer.apply_chat_template(
            [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}], tokenize=False
        )
        assert VIDEO.join(found.around(text)) == stock


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("{{ part.text | upper }}", "must show the question once, after the video, it does 0 times"),
        ("{{ part.text | escape }}", "writes something else around one question than around another, or changes it"),
        ("{{ part.text }}{% if '0' in part.text %}!{% endif %}", "writes something else around one question"),
        ("{{ part.text }}{{ part.text }}", "must show the question once, after the video, it does 2 times"),
        ("{{ part.text }}<|video_pad|>", "must hold '<|video_pad|>' exactly once, it does 2 times"),
    ],
)
def test_a_template_that_changes_questions_is_refused(expression, message):
    with pytest.raises(ValueError, match=r"the chat template|rendered prompt") as caught:
        surroundings_of(with_template(TEXT.replace("{TEXT}", expression)), video_token=VIDEO)
    assert message in str(caught.value)


def test_a_text_models_template_is_refused_as_before():
    with pytest.raises(ValueError, match=r"the chat template fails \(TypeError"):
        build_prompt(with_template(TOOLS_TEMPLATE), video_token=VIDEO, question="What?", options=None)
