"""A throw-away probe of questions inside the language model: what the answer is, and which option says so.

The answer's letter is the last of four steps (look, tell, compare, copy), and a loss on it alone left small models at
chance for thousands of steps. Here the question mark has to tell the answer in a word, and each option whether it is
the right one, some layers before the end.

Shape suffixes:
- B = clips, S = packed sequence, D = hidden size, V = vocabulary
- W = questions with a known answer, O = options
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from pipeline.lab.demo_training.examples import Example
from pipeline.lab.demo_training.vocabulary import LETTERS

_TOLD_AFTER, _COMPARED_AFTER = 2, 1  # layers from the end
_SCALE = 0.25


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QuestionPlaces:
    """Rows and columns of a packed batch, and what should be said there.

    Attributes:
        mark_W2: of question marks; ``answer_W`` the answer's token.
        option_O2: of options; ``share_O`` the wanted probability that it is right.
    """

    mark_W2: Tensor
    answer_W: Tensor
    option_O2: Tensor
    share_O: Tensor


class AnswerProbe(nn.Module):
    """Two maps that training needs and the model does not keep; answers are told in the first word embeddings."""

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        size, layers = model.config.text_config.hidden_size, model.config.text_config.num_hidden_layers
        self._told_layer, self._compared_layer = layers - _TOLD_AFTER, layers - _COMPARED_AFTER
        self._norm, self._tell = nn.LayerNorm(size), nn.Linear(size, size)
        self._compare = nn.Linear(size, 1)
        self._words_VD: Tensor
        self.register_buffer("_words_VD", model.get_input_embeddings().weight.detach().clone())
        ids = tokenizer.convert_tokens_to_ids(["?", ".", *LETTERS])
        self._mark_id, self._dot_id, self._letter_ids = ids[0], ids[1], ids[2:]

    def find(self, examples: Sequence[Example], *, start: int) -> QuestionPlaces:
        """Where questions end and options stand; ``start`` is the column of the first text token."""
        marks, answers, options, shares = [], [], [], []
        for row, example in enumerate(examples):
            ids, segment = example.text_ids.tolist(), example.text_segment
            wanted = [target.token_ids for target in example.targets if target.weight == 1]
            for number, tokens in enumerate(wanted, start=1):
                first = int((segment == number).argmax())
                mark = ids.index(self._mark_id, first)
                places = self._options_after(ids, mark)
                if places and tokens[0] in self._letter_ids:
                    right = [places[self._letter_ids.index(token)] for token in tokens]
                    options += [(row, start + place) for place in places]
                    shares += [float(place in right) / len(right) for place in places]
                    said = [ids[place] for place in right]
                else:
                    said = list(tokens)
                if len(said) == 1:
                    marks.append((row, start + mark))
                    answers.append(said[0])
        return QuestionPlaces(
            mark_W2=torch.tensor(marks, dtype=torch.int64).view(-1, 2),
            answer_W=torch.tensor(answers, dtype=torch.int64),
            option_O2=torch.tensor(options, dtype=torch.int64).view(-1, 2),
            share_O=torch.tensor(shares),
        )

    def _options_after(self, ids: list[int], mark: int) -> list[int]:
        """Positions of the words behind "A .", "B ." and so on, right behind a question mark; none for open ones."""
        places: list[int] = []
        while mark + 3 * len(places) + 3 < len(ids):
            at = mark + 3 * len(places) + 1
            if len(places) >= len(self._letter_ids) or ids[at : at + 2] != [
                self._letter_ids[len(places)],
                self._dot_id,
            ]:
                break
            places.append(at + 2)
        return places

    def told_loss(self, places: QuestionPlaces, hidden: Sequence[Tensor]) -> tuple[Tensor, float]:
        """Cross-entropy of the answer's word at the question mark, and the share told right."""
        if not len(places.answer_W):
            return hidden[0].new_zeros(()), float("nan")
        told_WD = self._tell(self._norm(hidden[self._told_layer][places.mark_W2[:, 0], places.mark_W2[:, 1]]))
        logits_WV = told_WD @ self._words_VD.T * _SCALE
        right = (logits_WV.argmax(-1) == places.answer_W).float().mean().item()
        return nn.functional.cross_entropy(logits_WV, places.answer_W), right

    def option_loss(self, places: QuestionPlaces, hidden: Sequence[Tensor]) -> tuple[Tensor, float]:
        """Binary cross-entropy of each option, and the share of sure ones that is told right."""
        if not len(places.share_O):
            return hidden[0].new_zeros(()), float("nan")
        chosen_OD = hidden[self._compared_layer][places.option_O2[:, 0], places.option_O2[:, 1]]
        logits_O = self._compare(chosen_OD).squeeze(-1)
        sure = (places.share_O == 0) | (places.share_O == 1)
        right = ((logits_O > 0) == (places.share_O > 0.5))[sure].float().mean().item()
        return nn.functional.binary_cross_entropy_with_logits(logits_O, places.share_O), right
