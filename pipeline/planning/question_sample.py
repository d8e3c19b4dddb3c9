"""Which questions of a job cannot be asked, before anything starts: checked as when their videos are planned."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.failures import FailureClass
from pipeline.models.interface import ModelLayout
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.planning.question_check import check_prompts, most_question_tokens
from pipeline.planning.task_table import TaskTable
from pipeline.planning.video_sample import VideoSample
from pipeline.settings.config import RunConfig

MOST_QUESTIONS = 20_000
"""That are checked: some 10 s. Of more, those of the first videos."""

NUM_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedQuestion:
    """One of them, and why; the message names the remedy."""

    question_id: str
    failure_class: FailureClass
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionSample:
    """What the check found.

    Attributes:
        num_checked: of the questions to answer.
        num_refused: of those, the ones that will fail.
        named: the first few.
    """

    num_checked: int = 0
    num_refused: int = 0
    named: tuple[RefusedQuestion, ...] = ()


def sample_questions(
    tasks: TaskTable, sample: VideoSample, *, tokenizer: QuestionTokenizer, layout: ModelLayout, config: RunConfig
) -> QuestionSample:
    """Check questions against their video, where its header was read, else against the video that leaves most room.

    Args:
        tasks: what is left to do.
        sample: what the headers said.
        tokenizer: reads questions.
        layout: of the model.
        config: the run's settings.
    """
    rooms = [most_question_tokens(cost.group_num_tokens, layout=layout, config=config) for cost in sample.costs]
    of_video: Mapping[str, int | None] = dict(zip(sample.probed, rooms, strict=False))
    known = [room for room in rooms if room is not None]
    most = max(known) if known else None
    num_checked, refused = 0, list[RefusedQuestion]()
    for task in tasks:
        questions = task.questions[: MOST_QUESTIONS - num_checked]
        check = check_prompts(
            questions, None, most=of_video.get(task.uri, most), tokenizer=tokenizer, layout=layout, config=config
        )
        refused += [
            RefusedQuestion(
                question_id=questions[index].question_id,
                failure_class=failure.failure_class,
                message=failure.message,
            )
            for index, failure in check.refused.items()
        ]
        num_checked += len(questions)
        if num_checked == MOST_QUESTIONS:
            break
    return QuestionSample(num_checked=num_checked, num_refused=len(refused), named=tuple(refused[:NUM_NAMED]))
