"""A question as the model is asked it: behind what is said in the video while the sampled frames are on show."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.failures import PipelineError
from pipeline.manifest.questions import Question
from pipeline.method.subtitles import Subtitle, subtitles_for_frames, with_subtitles
from pipeline.method.timed_text import parse_transcript
from pipeline.planning.video_plan import VideoPlan


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
    else:  # what came on show before the part counts from its start on
        chosen = subtitles_for_frames(lines, np.maximum(plan.sample.times_s, plan.start_s))
    return replace(question, text=with_subtitles(question.text, chosen), transcript=None)
