"""The tokenizer of a checkpoint with the chat template that can place a video, tried on one question.

Needs no weights, so planning tries it too, long before a worker would.
"""

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from pipeline.failures import FailureClass
from pipeline.models.checkpoints.files import LOADING_ERRORS, PROCESSOR_FILES, CheckpointError, ExplainErrors, cause_of
from pipeline.models.prompt import question_text, render_around_video
from pipeline.models.registry import Family

_JINJA_FILE, _JSON_FILE = "chat_template.jinja", "chat_template.json"
_QUESTION, _OPTIONS = "What is shown?", ("a cat", "a dog")
_THINK, _END_THINK = "<think>", "</think>"
_COPY_AGAIN = "copy the checkpoint again, with all files of its tokenizer"


class PromptError(CheckpointError):
    """Class ``model``: the checkpoint is there, but no prompt can be made with its tokenizer and chat template."""


def load_tokenizer(name: str, folder: Path, family: Family) -> Any:
    """The tokenizer, with the chat template of ``chat_template.jinja``, else ``chat_template.json``, else its own.

    Qwen2.5-VL is published with a text model's template in the tokenizer's file and its own in ``chat_template.json``,
    which stock transformers reads for a processor only.

    Args:
        name: checkpoint as given.
        folder: with the tokenizer's and the template's files; weights are not needed.
        family: of the checkpoint.

    Raises:
        CheckpointError: The tokenizer cannot be loaded.
        PromptError: Its template cannot ask a question about a video.
    """
    with ExplainErrors(name, "has a tokenizer that cannot be loaded", _COPY_AGAIN):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        if not (folder / _JINJA_FILE).is_file() and (folder / _JSON_FILE).is_file():  # stock code reads the former
            tokenizer.chat_template = _read_json_template(folder / _JSON_FILE)
        if family.needs_processor_name and (processor := _read_processor_name(folder)):
            tokenizer.init_kwargs["processor_class"] = processor
    try:
        check_prompt(tokenizer, family)
    except LOADING_ERRORS as error:
        cause = str(error) if type(error) is ValueError else cause_of(error)
        raise _prompt_error(name, f"cannot be asked about a video: {cause}") from error
    return tokenizer


def check_prompt(tokenizer: Any, family: Family) -> None:
    """Render one question about a video and look at every part of it.

    Raises:
        ValueError: The template cannot be used; the message names what to use instead.
    """
    _, after = render_around_video(tokenizer, video_token=family.video_token, question=_QUESTION, options=_OPTIONS)
    text = question_text(_QUESTION, _OPTIONS)
    if after.count(text) != 1:
        raise ValueError(
            f"the chat template must show the question once, after the video, it does {after.count(text)} times; "
            f"put the vision model's own {_JINJA_FILE} or {_JSON_FILE} into the checkpoint"
        )
    start_of_answer = after.partition(text)[2]
    if start_of_answer.rfind(_THINK) > start_of_answer.rfind(_END_THINK):
        raise ValueError(
            f"the answer starts inside {_THINK}, where option letters mean nothing (a 'thinking' checkpoint); use the "
            "'Instruct' checkpoint of the same size"
        )
    family.read_prefix(tokenizer)


def _read_processor_name(folder: Path) -> str | None:
    """As stock code looks it up, before the tokenizer's own word; None where no file says it."""
    for name in PROCESSOR_FILES:
        if (folder / name).is_file():
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            if isinstance(content, dict) and isinstance(content.get("processor_class"), str):
                return str(content["processor_class"])
    return None


def _read_json_template(path: Path) -> str:
    content = json.loads(path.read_text(encoding="utf-8"))
    template = content.get("chat_template") if isinstance(content, dict) else None
    if not isinstance(template, str):
        raise ValueError(f"{path.name} must be an object with a text under 'chat_template'")
    return template


def _prompt_error(name: str, problem: str) -> PromptError:
    return PromptError(FailureClass.MODEL, " ".join(f"model {name!r} {problem}".split()))
