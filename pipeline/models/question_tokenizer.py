"""From a question to the token ids that a model is asked with. Needs no weights, so questions can be checked early."""

from collections.abc import Sequence
from typing import Any

from pipeline.models.interface import QuestionPrompt
from pipeline.models.prompt import build_prompt, letter_ids
from pipeline.models.prompt_styles import style_of
from pipeline.models.rendering import surroundings_of


class QuestionTokenizer:
    """Of one checkpoint; picklable. Its chat template has run when this is made, and does not run for a question.

    Args:
        tokenizer: of the checkpoint.
        video_token: where the chat template puts a video.
        letter_mark: what the family writes before an option's letter; it is put there, so that a letter comes next.
            Empty: nothing. A tokenizer without such a token writes none.

    Raises:
        ValueError: As ``surroundings_of``.
    """

    def __init__(self, tokenizer: Any, *, video_token: str, letter_mark: str = "") -> None:
        self._tokenizer, self._video_token = tokenizer, video_token
        self._surroundings = surroundings_of(tokenizer, video_token=video_token)
        vocabulary = tokenizer.get_vocab() if letter_mark else {}
        self._mark_ids = (vocabulary[letter_mark],) if letter_mark in vocabulary else ()

    def build(
        self, question: str, options: Sequence[str] | None, *, response_tokens: int, style: str = "plain"
    ) -> QuestionPrompt:
        """See ``VideoModel.build_question``.

        Raises:
            ValueError: If there are more options than letters, or a text that the tokenizer cannot write.
        """
        prompt = build_prompt(
            self._tokenizer,
            video_token=self._video_token,
            question=question,
            options=options,
            surroundings=self._surroundings,
            style=style,
        )
        if options is None:
            return QuestionPrompt(suffix_ids=prompt.suffix_ids, option_ids=None, max_tokens=response_tokens)
        ids = letter_ids(self._tokenizer, num_options=len(options))
        suffix_ids = (*prompt.suffix_ids, *self._mark_ids, *self._opening(style))
        return QuestionPrompt(suffix_ids=suffix_ids, option_ids=ids, max_tokens=1)

    def _opening(self, style: str) -> tuple[int, ...]:
        """What the response is made to begin with."""
        opening = style_of(style).opening
        return tuple(self._tokenizer(opening, add_special_tokens=False)["input_ids"]) if opening else ()
