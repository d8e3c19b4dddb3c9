"""How GLM-4.xV is shown a video: every temporal patch as an image, its time as text after it.

``<|begin_of_image|>…<|end_of_image|>0<|begin_of_image|>…<|end_of_image|>1``, all between ``<|begin_of_video|>`` and
``<|end_of_video|>``. GLM-4.1V and 4.5V write whole seconds, GLM-4.6V ``0.0 seconds``; which one a checkpoint was
trained with is known by the name of its processor, because both come under the same ``model_type``.

Shape suffixes: P = temporal patches shown
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.models.prompt import render_around_video
from pipeline.models.video_sequence import VideoSequence

VIDEO_TOKEN = "<|video|>"  # in the chat template, where the patches go
ANSWER_MARKS = ("<|begin_of_box|>", "<|end_of_box|>")  # a final answer stands between them
_VIDEO_START, _VIDEO_END = "<|begin_of_video|>", "<|end_of_video|>"
_START, _END = "<|begin_of_image|>", "<|end_of_image|>"
_END_THINK = "</think>"
# processor of a checkpoint -> how it writes a time
_TIMES: dict[str, Callable[[float], str]] = {
    "Glm4vProcessor": lambda time_s: str(int(time_s)),
    "Glm46VProcessor": lambda time_s: f"{time_s:.1f} seconds",
}


def time_writer(tokenizer: Any) -> Callable[[float], str]:
    """How the checkpoint writes a time in seconds.

    Raises:
        ValueError: If no file names the processor it was published with.
    """
    name = tokenizer.init_kwargs.get("processor_class")
    if name not in _TIMES:
        raise ValueError(
            f"preprocessor_config.json must name the checkpoint's processor_class, {' or '.join(_TIMES)}, which write "
            f"times differently, got {name!r}; copy the file from where the checkpoint was published"
        )
    return _TIMES[name]


def block_texts(before: str, times_s_P: npt.NDArray[np.float64], write: Callable[[float], str]) -> list[str]:
    """The text before each patch's visual tokens, and, as the last one, that after them all.

    Args:
        before: what the chat template puts before the video.
        times_s_P: when each patch's first frame is presented.
        write: how the checkpoint writes a time.
    """
    ends = [f"{_END}{write(time_s)}" for time_s in times_s_P.tolist()]
    return [before + _START, *(end + _START for end in ends[:-1]), ends[-1]]


def append_text(sequence: VideoSequence, text_ids: list[int]) -> VideoSequence:
    """The same with text after its last visual token."""
    return replace(
        sequence,
        ids_T=sequence.ids_with(text_ids),
        positions=sequence.positions_with(len(text_ids)),
        next_position=sequence.next_position + len(text_ids),
    )


def read_prefix(tokenizer: Any) -> str:
    """The chat template's text before the video.

    Raises:
        ValueError: As ``render_around_video`` and ``time_writer``; also if the template does not put the video between
            its tokens, or lets the model think before it answers.
    """
    before, after = render_around_video(tokenizer, video_token=VIDEO_TOKEN, question="", options=None)
    if not (before.endswith(_VIDEO_START) and after.startswith(_VIDEO_END)):
        raise ValueError(
            f"the chat template must put {_VIDEO_START} and {_VIDEO_END} around {VIDEO_TOKEN}, "
            f"got {before[-20:]!r} before and {after[:20]!r} after it; use the checkpoint's own template"
        )
    if not after.rstrip().endswith(_END_THINK):
        raise ValueError(
            f"the model would think before it answers, where option letters mean nothing: with enable_thinking=False "
            f"the prompt must end in {_END_THINK}, it ends in {after[-20:]!r}; use GLM-4.5V, GLM-4.6V or "
            "GLM-4.6V-Flash with its own template (GLM-4.1V-Thinking has no way to answer without)"
        )
    time_writer(tokenizer)
    return before
