"""A question as the model is asked it: behind what is said in the video while the sampled frames are on show."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from pipeline.failures import PipelineError
from pipeline.manifest.questions import Question
from pipeline.method.subtitles import Subtitle, parse_srt, subtitles_for_frames, with_subtitles
from pipeline.method.webvtt import is_webvtt, parse_vtt
from pipeline.planning.video_plan import VideoPlan

_SRT_TIMES = re.compile(r"^\s*\d+:\d+(?::\d+)?[.,]\d+\s+-->\s+\d", re.MULTILINE)


def ask_with_transcript(question: Question, plan: VideoPlan) -> Question:
    """The question with the lines of its transcript that its sampled frames show, none outside its time range.

    A transcript without times stands there whole.

    Raises:
        PipelineError: The transcript could not be read; says why.
    """
    transcript = question.transcript
    if transcript is None:
        return question
    if transcript.failure is not None:
        raise PipelineError(transcript.failure.failure_class, transcript.failure.message)
    assert transcript.text is not None, "an address is read before anything is planned"
    lines = parse_transcript(transcript.text)
    if lines is None:
        chosen: Sequence[Subtitle] = [Subtitle(start_s=0.0, end_s=0.0, text=transcript.text.strip())]
    else:
        frame_times_s = np.maximum(plan.sample.times_s, plan.start_s)
        chosen = subtitles_for_frames(_clip(lines, plan), frame_times_s)
    return replace(question, text=with_subtitles(question.text, chosen), transcript=None)


@lru_cache(maxsize=8)  # the questions of a video mostly share one
def parse_transcript(text: str) -> tuple[Subtitle, ...] | None:
    """The lines of SRT or WebVTT; None: there are no times, it is plain text.

    Raises:
        ValueError: It begins as WebVTT and is none.
    """
    if is_webvtt(text):
        return tuple(parse_vtt(text))
    return tuple(parse_srt(text)) if _SRT_TIMES.search(text) else None


def _clip(lines: Sequence[Subtitle], plan: VideoPlan) -> list[Subtitle]:
    """Those within the part of the video that is asked about."""
    if plan.time_range is None:
        return list(lines)
    clipped = [
        replace(line, start_s=max(line.start_s, plan.start_s), end_s=min(line.end_s, plan.end_s)) for line in lines
    ]
    return [line for line in clipped if line.start_s < line.end_s]
