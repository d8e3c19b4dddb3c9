"""The child process in which a checkpoint's chat template runs, a program nobody here wrote. Started by ``rendering``.

Jinja as stock transformers (5.24) sets it up for chat templates, without transformers: a second less to wait for.
"""

import json
import os
import sys
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.sandbox.child import forget_environment
from pipeline.sandbox.layers import enter_sandbox
from pipeline.sandbox.privileges import Limits

# A template is a small program of the checkpoint; this is how one ends that was written for other messages.
_TEMPLATE_ERRORS = (
    *(jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError),
    *(MemoryError, NotImplementedError, AssertionError, OSError, SyntaxError),
)
_MOST_MESSAGE_CHARS = 300
READY = b"."  # comes before the answer: from here on time counts


class _Generation(jinja2.ext.Extension):
    """``{% generation %} … {% endgeneration %}`` marks what a model said; nothing here asks which part that is."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own attribute

    def parse(self, parser: Any) -> Any:
        """Its content, as if there were no marks."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def main(options: str) -> None:
    """Read one request from standard input, answer it, end.

    Args:
        options: ``parent``, ``layers``, ``memory_bytes``, ``cpu_s``, and ``answer``, the descriptor that is written to.
    """
    given = json.loads(options)
    _load_all()
    forget_environment()
    limits = Limits(private_bytes=given["memory_bytes"], cpu_s=given["cpu_s"])
    report = enter_sandbox(parent=given["parent"], limits=limits, layers=given["layers"])
    with os.fdopen(given["answer"], "wb") as pipe:
        pipe.write(READY)
        pipe.flush()
        request = json.loads(sys.stdin.buffer.read())
        answer: dict[str, Any] = {"sandbox": report.summary}
        try:
            answer["texts"] = _render(request, max_chars=given["max_chars"])
        except _TEMPLATE_ERRORS as error:
            answer["error"] = _describe(error)
        pipe.write(json.dumps(answer).encode())


def _describe(error: BaseException) -> str:
    """In one line.

    Example: ``OverflowError: Range too big.``
    """
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")[:_MOST_MESSAGE_CHARS]


def _load_all() -> None:
    """No module can be loaded in the sandbox: neither for a template that works, nor for one that fails."""
    for found in walk_packages(jinja2.__path__, "jinja2."):
        import_module(found.name)
    working, failing = "{{ [1] | tojson }}{% for x in '1' %}{{ x }}{% endfor %}", "{{ raise_exception('no') }}"
    for text in (working, failing, "{{ x.y.z }}", "{{ x + [1] }}", "{% if %}"):
        with suppress(*_TEMPLATE_ERRORS):
            _environment().from_string(text).render()


def _render(request: dict[str, Any], *, max_chars: int) -> list[str]:
    """One text per list of messages."""
    template = _environment().from_string(request["template"])
    rendered = []
    for messages in request["conversations"]:
        pieces, num_chars = [], 0
        # a template that can let the model think is told not to; others do not read that
        given = {"messages": messages, "tools": None, "documents": None, "enable_thinking": False}
        for piece in template.generate(**request["tokens"], **given, add_generation_prompt=True):
            num_chars += len(piece)
            if num_chars > max_chars:
                raise ValueError(f"it writes more than {max_chars:,} characters around one question")
            pieces.append(piece)
        rendered.append("".join(pieces))
    return rendered


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
