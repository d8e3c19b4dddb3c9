"""Which questions of a video can be asked, found when it is planned: one that cannot fails alone, before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.failures import Failure, FailureClass, PipelineError
from pipeline.manifest.questions import Question
from pipeline.manifest.record_table import IntArray
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import ModelLayout, styled
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.planning.question_transcript import ask_with_transcript
from pipeline.planning.video_plan import PROMPT_POSITIONS, VideoPlan
from pipeline.settings.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionCheck:
    """By question of a video.

    Attributes:
        num_tokens: of each question's prompt after the video: the room it keeps where another is asked in its stead.
            Empty where no model reads the questions; then each is one token long.
        refused: those that cannot be asked, and why.
        texts: of questions with a transcript what is asked: its lines stand before the question.
    """

    num_tokens: tuple[int, ...] = ()
    refused: Mapping[int, Failure] = field(default_factory=dict)
    texts: Mapping[int, str] = field(default_factory=dict)

    def as_asked(self, questions: Sequence[Question]) -> tuple[Question, ...]:
        """The questions as the model is asked them; transcripts have done their part."""
        return tuple(
            question
            if question.transcript is None
            else replace(question, text=self.texts.get(index, question.text), transcript=None)
            for index, question in enumerate(questions)
        )


def check_questions(
    questions: Sequence[Question],
    plan: VideoPlan,
    *,
    tokenizer: QuestionTokenizer,
    layout: ModelLayout,
    config: RunConfig,
) -> QuestionCheck:
    """Tokenise every question of a planned video as it will be asked."""
    most = most_question_tokens(plan.group_num_tokens, layout=layout, config=config)
    return check_prompts(questions, plan, most=most, tokenizer=tokenizer, layout=layout, config=config)


def check_prompts(
    questions: Sequence[Question],
    plan: VideoPlan | None,
    *,
    most: int | None,
    tokenizer: QuestionTokenizer,
    layout: ModelLayout,
    config: RunConfig,
) -> QuestionCheck:
    """Likewise, of a video that leaves ``most`` tokens to each question; None: any number.

    Without a plan nobody knows which lines of a transcript will stand before a question: it is checked without them.
    """
    lengths: list[int] = []
    refused: dict[int, Failure] = {}
    texts: dict[int, str] = {}
    for index, question in enumerate(questions):
        try:
            text = (question if plan is None else ask_with_transcript(question, plan)).text
            scoring = config.scoring
            prompt = tokenizer.build(text, question.options, response_tokens=scoring.response_tokens, **styled(scoring))
        except (ValueError, PipelineError) as error:
            failure = error.to_failure() if isinstance(error, PipelineError) else None
            refused[index] = failure or Failure(failure_class=FailureClass.MODEL, message=str(error))
            lengths.append(0)
            continue
        lengths.append(len(prompt.suffix_ids))
        if most is not None and lengths[-1] > most:
            with_transcript = " and its transcript" if question.transcript is not None else ""
            refused[index] = _too_long(lengths[-1], most, extra=with_transcript, layout=layout, config=config)
        elif question.transcript is not None:
            texts[index] = text
    return QuestionCheck(num_tokens=tuple(lengths), refused=refused, texts=texts)


def most_question_tokens(num_tokens: IntArray, *, layout: ModelLayout, config: RunConfig) -> int | None:
    """A question's share of the positions that the video leaves to a micro-batch, which stands in one row.

    32,768 positions, 128 visual tokens at once, 1,024 for the template, 8 questions  ->  3,952 each

    Args:
        num_tokens: ``(G,)`` visual tokens of each group of the video.
        layout: of the model.
        config: the run's settings.

    Returns:
        None where settings allow any length.
    """
    if config.answering.allow_long_context:
        return None
    selector = get_selector(config.method)
    budget = selector.final_budget(config.budget)
    shown = int(num_tokens.sum()) if budget is None else min(int(num_tokens.sum()), budget)
    if selector.needs_scores:
        shown = max(shown, int(num_tokens.max()))
    room = layout.max_positions - PROMPT_POSITIONS - shown
    return max(PROMPT_POSITIONS, room // config.scoring.question_batch)


def _too_long(num_tokens: int, most: int, *, extra: str, layout: ModelLayout, config: RunConfig) -> Failure:
    return Failure(
        failure_class=FailureClass.TOO_LARGE,
        message=f"the question is {num_tokens} tokens long with its options{extra}; beside the video the model's "
        f"{layout.max_positions} positions leave {most} to each of scoring.question_batch="
        f"{config.scoring.question_batch} questions; shorten it, lower scoring.question_batch or "
        "sampling.frames_per_group, or force it with answering.allow_long_context=true",
    )
