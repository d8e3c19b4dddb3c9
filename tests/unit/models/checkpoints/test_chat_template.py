"""Which chat template asks the questions, and what becomes of one that cannot: found by planning, without weights."""

import json
import shutil

import pytest

from jobs import run
from pipeline.failures import FailureClass
from pipeline.lab.demo_training.vocabulary import build_tokenizer
from pipeline.models import loading
from pipeline.models.chat_template import PromptError, check_prompt, load_tokenizer
from pipeline.models.checkpoints.files import CheckpointError
from pipeline.models.loading import describe_model, load_model
from pipeline.models.registry import FAMILIES
from pipeline.settings.config import ModelConfig
from tests.unit.models.checkpoints.published_layout import TOOLS_TEMPLATE as TOOLS
from tests.unit.models.checkpoints.published_layout import VISION_TEMPLATE as VISION
from tests.unit.models.tiny_models import BUILDERS

QWEN = FAMILIES["qwen2_5_vl"]
OTHER = VISION.replace("a helpful assistant", "an assistant")


def lay_out(folder, *, own=None, as_json=None, as_jinja=None):
    """Put templates where a published folder has them; what is not given is not there."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config | ({"chat_template": own} if own else {})))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    if as_json is not None:
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": as_json}))
    if as_jinja is not None:
        (folder / "chat_template.jinja").write_text(as_jinja)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoint")


def test_a_folder_laid_out_as_published_loads_and_asks_with_its_vision_template(folder):
    lay_out(folder, own=TOOLS, as_json=VISION)
    name = str(folder)
    assert describe_model(ModelConfig(model=name)).family == "qwen2_5_vl"
    model = load_model(ModelConfig(model=name), device="cpu")
    tokenizer = build_tokenizer()
    tokenizer.chat_template = VISION
    for options in (("red", "blue"), None):
        prompt = model.build_question("What color is the circle ?", options, response_tokens=4)
        messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What color"}]}]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        before = rendered.partition("<|video_pad|>")[0]
        assert model._prefix_ids == tuple(tokenizer(before, add_special_tokens=False)["input_ids"])
        assert tokenizer.decode(prompt.suffix_ids).startswith("<|vision_end|>")


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        ({"own": TOOLS, "as_json": OTHER, "as_jinja": VISION}, VISION),
        ({"own": TOOLS, "as_json": VISION}, VISION),
        ({"own": VISION}, VISION),
        ({"as_json": VISION}, VISION),
    ],
    ids=["jinja-first", "json-next", "own-last", "json-alone"],
)
def test_the_order_of_templates_is_jinja_file_json_file_the_tokenizers_own(folder, templates, expected):
    lay_out(folder, **templates)
    assert load_tokenizer("m", folder, QWEN).chat_template == expected


BROKEN = [
    (TOOLS, "the chat template fails (TypeError: can only concatenate str"),
    ("{{ messages[0]['content'] }}", "must hold '<|video_pad|>' exactly once, it does 0 times"),
    (VISION.replace("<|video_pad|>", "<|video_pad|><|video_pad|>"), "exactly once, it does 2 times"),
    (VISION.replace("{{ content['text'] }}", ""), "must show the question once, after the video, it does 0 times"),
    ("{{ messages[0].nothing.more }}", "the chat template fails (UndefinedError"),
    ("{% for message in messages %}", "the chat template fails (TemplateSyntaxError"),
    ("{{ raise_exception('text\nonly') }}", "the chat template fails (TemplateError: text only)"),
    ("{{ '%(x)s' % {} }}", "the chat template fails (KeyError"),
    (VISION.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"), "inside <think>"),
    (None, "the chat template fails (ValueError: Cannot use chat template functions"),
]


@pytest.mark.parametrize(("template", "message"), BROKEN)
def test_a_template_that_cannot_ask_about_a_video_is_one_line_of_class_model(folder, template, message, monkeypatch):
    monkeypatch.delattr(loading, "_load_weights")
    lay_out(folder, own=template)
    for look in (describe_model, load_model):
        with pytest.raises(PromptError) as caught:
            look(ModelConfig(model=str(folder)))
        assert caught.value.failure_class is FailureClass.MODEL
        assert caught.value.message.startswith(f"model '{folder}' cannot be asked about a video: ")
        assert message in caught.value.message
        assert "\n" not in caught.value.message
        assert any(remedy in caught.value.message for remedy in ("chat_template.json", "use the 'Instruct' checkpoint"))


def test_an_empty_thought_before_the_answer_is_no_thinking_checkpoint(folder):
    lay_out(folder, own=VISION.replace("assistant\n{% endif %}", "assistant\n<think>\n\n</think>\n\n{% endif %}"))
    assert describe_model(ModelConfig(model=str(folder))).family == "qwen2_5_vl"


@pytest.mark.parametrize("content", ["{", "[]", '{"chat_template": 3}'])
def test_an_unreadable_template_file_is_a_model_failure(folder, content):
    lay_out(folder, own=VISION)
    (folder / "chat_template.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"has a tokenizer that cannot be loaded .*copy the checkpoint again"):
        describe_model(ModelConfig(model=str(folder)))


def test_a_checkpoint_without_a_tokenizer_is_a_model_failure(folder):
    for path in (*folder.glob("tokenizer*"), *folder.glob("chat_template*")):
        path.unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        describe_model(ModelConfig(model=str(folder)))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_prompt_of_every_family_passes_and_that_of_another_token_does_not(family):
    _, tokenizer = BUILDERS[family]()
    check_prompt(tokenizer, FAMILIES[family])
    tokenizer.chat_template = tokenizer.chat_template.replace(FAMILIES[family].video_token, "<|other|>")
    with pytest.raises(ValueError, match="exactly once, it does 0 times"):
        check_prompt(tokenizer, FAMILIES[family])


@pytest.mark.parametrize("words", [["--plan"], ["--executor", "serial"], ["--executor", "ray"]])
def test_the_job_ends_with_exit_code_1_before_a_worker_is_asked_for(folder, tmp_path, capsys, words):
    lay_out(folder, own=TOOLS)
    manifest = tmp_path / "m.csv"
    manifest.write_text("question_id,video,question\nq,v.mp4,What?\n")
    output = tmp_path / "out"
    arguments = ["--manifest", str(manifest), "--output", str(output), "--model", str(folder), *words]
    assert run.main(arguments) == 1
    printed = capsys.readouterr().err
    assert "cannot be asked about a video: the chat template fails (TypeError" in printed
    assert "Traceback" not in printed
    assert len(printed.strip().splitlines()) == 1
    assert not output.exists()
