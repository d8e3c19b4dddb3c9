"""From the outputs of a forward pass to ``Response`` records, the same for every family.

Shape suffixes:
- B = questions, V = vocabulary, O = most options, N = visual tokens
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pipeline.models.attention_probe import AttentionProbe
from pipeline.models.devices.transfer import Download, upload
from pipeline.models.generation import GreedyRow, choose_tokens
from pipeline.models.interface import QuestionPrompt, Response
from pipeline.models.text_model import TextModel
from pipeline.settings.config import ScoringConfig


def query_segments(segments: Sequence[tuple[int, int]], config: ScoringConfig) -> tuple[tuple[int, int], ...]:
    """Which query positions of each question are read: its text, or only its last token."""
    if config.query_tokens == "last-token":
        return tuple((stop - 1, stop) for _, stop in segments)
    return tuple(segments)


@dataclass(kw_only=True, slots=True, eq=False)
class PendingResponses:
    """Responses whose numbers are on their way to the host; nothing has been waited for unless a question is open.

    ``chosen_B``: their first tokens, on the device.
    """

    text: TextModel
    prompts: Sequence[QuestionPrompt]
    download: Download
    chosen_B: Tensor
    greedy: list[GreedyRow] | None = None

    @property
    def rows(self) -> list[GreedyRow]:
        """The responses with their first tokens; waits for them."""
        if self.greedy is None:
            chosen_B, entropies_B, *_ = self.download.read()
            self.greedy = [GreedyRow(max_tokens=prompt.max_tokens) for prompt in self.prompts]
            for row, token, entropy in zip(self.greedy, chosen_B.tolist(), entropies_B.tolist(), strict=True):
                row.add(token, entropy, self.text.end_ids)
        return self.greedy

    def read(self) -> list[Response]:
        """One record per question, in the order of the prompts; waits for the device."""
        _, _, probabilities_BO, shares_B, attention_BN = self.download.read()
        return [
            Response(
                text=self.text.write_out(row.token_ids),
                entropies=tuple(row.entropies if prompt.option_ids is None else row.entropies[:1]),
                option_probabilities=_options_of(prompt, probabilities_BO[index]),
                letter_share=None if prompt.option_ids is None else float(shares_B[index]),
                attention_N=attention_BN[index],
            )
            for index, (row, prompt) in enumerate(zip(self.rows, self.prompts, strict=True))
        ]


def first_tokens(
    text: TextModel, logits_BV: Tensor, prompts: Sequence[QuestionPrompt], probe: AttentionProbe
) -> PendingResponses:
    """What the logits after each question's last token say; the probe has been filled by the same pass."""
    assert probe.scores_BN is not None, "the reference layer did not run"
    chosen_B, entropies_B = choose_tokens(logits_BV)
    probabilities_BO, shares_B = _of_options(logits_BV, tuple(prompt.option_ids or (0,) for prompt in prompts))
    return PendingResponses(
        text=text,
        prompts=prompts,
        download=Download(chosen_B, entropies_B, probabilities_BO, shares_B, probe.scores_BN),
        chosen_B=chosen_B,
    )


def _of_options(logits_BV: Tensor, option_ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Probabilities of each question's options and the share of them all in the vocabulary's, both float32.

    Returns:
        ``(B, O)``, renormalised over the options, 0 beyond the last; ``(B,)``.
    """
    most = max(len(ids) for ids in option_ids)
    ids_BO = np.array([[*ids, *[0] * (most - len(ids))] for ids in option_ids])
    is_option_BO = np.array([[True] * len(ids) + [False] * (most - len(ids)) for ids in option_ids])
    picked_BO = logits_BV.gather(1, upload(ids_BO, logits_BV.device)).float()
    picked_BO = picked_BO.masked_fill(upload(~is_option_BO, logits_BV.device), float("-inf"))
    shares_B = (picked_BO.logsumexp(dim=-1) - logits_BV.float().logsumexp(dim=-1)).exp()
    return picked_BO.softmax(dim=-1), shares_B


def _options_of(prompt: QuestionPrompt, probabilities_O: npt.NDArray[np.float32]) -> tuple[float, ...] | None:
    return None if prompt.option_ids is None else tuple(probabilities_O[: len(prompt.option_ids)].tolist())
