"""The prompt of an original InternVL folder as a chat template. Its conversation.py is parsed, never run."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = "conversation.py"
_DEFAULT = "internvl2_5"
_FIELDS = ("system_template", "system_message", "roles", "sep")
_BODY = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\n' }}"
    "{%- if message['content'] is string %}{{- message['content'] }}{%- else %}"
    "{%- for content in message['content'] %}"
    "{%- if content['type'] == 'image' %}{{- '<IMG_CONTEXT>\n' }}"
    "{%- elif content['type'] == 'video' %}{{- '<video>\n' }}"
    "{%- elif content['type'] == 'text' %}{{- content['text'] }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """One template of conversation.py: what stands before the messages, who speaks, and what ends each of them."""

    system_template: str
    system_message: str
    roles: tuple[str, ...]
    sep: str


_KNOWN = Conversation(  # of InternVL2.5 and 3, for folders that were copied without the file
    system_template="<|im_start|>system\n{system_message}",
    system_message="你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。",
    roles=("<|im_start|>user\n", "<|im_start|>assistant\n"),
    sep="<|im_end|>\n",
)


def to_chat_template(folder: Path, original: Mapping[str, Any], *, bos: str) -> str:
    """Jinja of the same prompt, a system message of the user's own going before the folder's.

    Args:
        folder: the original one.
        original: content of its config.json.
        bos: what the tokenizer puts before every prompt; empty for none.

    Raises:
        ValueError: The folder's template is not among those of its conversation.py, or not of this kind.
    """
    name = str(original.get("template") or _DEFAULT)
    found = _read_conversation(folder, name)
    if found.roles[:2] != _KNOWN.roles or found.sep != _KNOWN.sep:
        raise ValueError(
            f"template {name!r} must be of the kind <|im_start|>role … <|im_end|>, its roles: {found.roles}"
        )
    message = original.get("system_message") or found.system_message
    system = found.system_template.format(system_message=message) + found.sep if message else ""
    start = f"{{{{- {_quoted(bos)} }}}}" if bos else ""
    if system:
        start += f"{{%- if messages[0]['role'] != 'system' %}}{{{{- {_quoted(system)} }}}}{{%- endif %}}"
    return start + _BODY


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _read_conversation(folder: Path, name: str) -> Conversation:
    path = folder / _FILE
    if not path.is_file():
        if name == _DEFAULT:
            return _KNOWN
        raise ValueError(f"template {name!r} stands in {_FILE}, which the folder lacks; copy it there")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Conversation":
            given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            if "name" in given and _literal(given["name"]) == name:
                values = {field: _literal(given[field]) for field in _FIELDS if field in given}
                return Conversation(**({"system_template": "{system_message}", "system_message": ""} | values))
    raise ValueError(f"template {name!r} is none of those in {_FILE}")


def _literal(node: ast.expr) -> Any:
    return ast.literal_eval(node)
