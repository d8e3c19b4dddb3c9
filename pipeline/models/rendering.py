"""What a chat template writes around a question: asked once of a process with a deadline, then only put together.

A template is a program. It is run when a checkpoint is identified, on a few questions that have nothing in common;
where it writes the same around each of them, no question that comes later runs it again.
"""

import json
import os
import selectors
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any

from pipeline.models.template_process import READY
from pipeline.sandbox.child import start_child
from pipeline.sandbox.layers import LAYERS

DEADLINE_S = 10.0
START_S = 60.0  # of a Python process on a machine that is busy
MAX_CHARS = 1024**2
_MEMORY_BYTES = 512 * 1024**2
_MOST_ANSWER_BYTES = 64 * 1024**2
_MODULE = "pipeline.models.template_process"
_REMEDY = "put the vision model's own chat_template.jinja or chat_template.json into the checkpoint"
_TRIMS: Mapping[str, Callable[[str], str]] = {"nowhere": str, "at both ends": str.strip, "at its end": str.rstrip}
_SAMPLES = (
    "What is shown?",
    '  <b>{{ 1 }}</b> & "it\'s" {% set x %}\n\n\tWhat\\n is это 猫 \ue000?  \n',
    "0",
    "",
    "A long one. " * 200,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """``before`` the video, ``between`` it and the question, ``after`` the question up to the response.

    ``trims``: a key of ``_TRIMS``, where the template takes white space from the question. Qwen3.5's trims a whole
    message, which begins with the video.
    """

    before: str
    between: str
    after: str
    trims: str = "nowhere"

    def around(self, text: str) -> tuple[str, str]:
        """What stands before and after the video when this is asked."""
        return self.before, f"{self.between}{_TRIMS[self.trims](text)}{self.after}"


def surroundings_of(tokenizer: Any, *, video_token: str) -> Surroundings:
    """Of the tokenizer's chat template, with the video before the text.

    Raises:
        ValueError: It fails, hangs, writes too much, drops the video or the question, shows one of them more
            than once, or writes something else around one question than around another.
    """
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:
        raise ValueError(f"the chat template fails (ValueError: {error}); {_REMEDY}") from error
    return _find_surroundings(template, tuple(sorted(tokenizer.special_tokens_map.items())), video_token)


@lru_cache(maxsize=64)
def _find_surroundings(template: str, tokens: tuple[tuple[str, str], ...], video_token: str) -> Surroundings:
    rendered = render_apart(template, dict(tokens), _SAMPLES)
    for text in rendered:
        if text.count(video_token) != 1:
            raise ValueError(
                f"the rendered prompt must hold {video_token!r} exactly once, it does {text.count(video_token)} times; "
                "the chat template must be the vision model's own (chat_template.jinja or chat_template.json), not a "
                "text model's"
            )
    before, shown = rendered[0].split(video_token)
    if shown.count(_SAMPLES[0]) != 1:
        raise ValueError(
            f"the chat template must show the question once, after the video, it does {shown.count(_SAMPLES[0])} "
            f"times; {_REMEDY}"
        )
    between, after = shown.split(_SAMPLES[0])
    for trims in _TRIMS:
        found = Surroundings(before=before, between=between, after=after, trims=trims)
        if all(video_token.join(found.around(sample)) == text for sample, text in zip(_SAMPLES, rendered, strict=True)):
            return found
    raise ValueError(
        f"the chat template writes something else around one question than around another, or changes it; {_REMEDY}"
    )


def render_apart(
    template: str, tokens: dict[str, str], samples: tuple[str, ...], *, deadline_s: float = DEADLINE_S
) -> list[str]:
    """What the template makes of a video and each text, by a process that may take ``deadline_s`` for all of them.

    Raises:
        ValueError: It fails, hangs or writes too much.
    """
    request = {
        "template": template,
        "tokens": tokens,
        "conversations": [
            [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}] for text in samples
        ],
    }
    answer = _ask(json.dumps(request).encode(), deadline_s=deadline_s)
    if "error" in answer:
        raise ValueError(f"the chat template fails ({answer['error']}), as a text model's does; {_REMEDY}")
    return [str(text) for text in answer["texts"]]


def _ask(request: bytes, *, deadline_s: float) -> dict[str, Any]:
    """One request to one process, which is gone afterwards.

    Raises:
        ValueError: It did not answer in time, or died of the template.
    """
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as messages, os.fdopen(read_end, "rb") as pipe:
        asked.write(request)
        asked.seek(0)
        options = {
            "answer": write_end,
            "layers": list(LAYERS),
            "memory_bytes": _MEMORY_BYTES,
            "cpu_s": deadline_s + START_S,
            "max_chars": MAX_CHARS,
        }
        try:
            process = start_child(_MODULE, options, stderr=messages, descriptors=[write_end], stdin=asked)
        finally:
            os.close(write_end)
        try:
            if _read_until(pipe, time.monotonic() + START_S, most=1) != READY:
                raise ValueError(f"the process for its chat template could not start: {_tail(messages)}")
            answer = _read_until(pipe, time.monotonic() + deadline_s, most=_MOST_ANSWER_BYTES)
        finally:
            process.kill()
            process.wait()
    if answer is None:
        raise ValueError(f"the chat template takes more than {deadline_s:g} s for a few questions; {_REMEDY}")
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not {"error", "texts"} & found.keys():
        raise ValueError(f"the chat template ends the process it runs in; {_REMEDY}")
    return found


def _read_until(pipe: IO[bytes], deadline: float, *, most: int) -> bytes | None:
    """All bytes up to the end of the pipe, or ``most`` of them; None when the deadline (monotonic) comes first."""
    read = b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        while len(read) < most:
            if not waiting.select(max(0.0, deadline - time.monotonic())):
                return None
            piece = os.read(pipe.fileno(), min(65_536, most - len(read)))
            if not piece:
                break
            read += piece
    return read


def _tail(messages: IO[bytes]) -> str:
    messages.seek(0)
    return (messages.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
