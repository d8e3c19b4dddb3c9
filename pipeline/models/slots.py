"""One step of greedy generation in tensors that stay where they are.

What all questions share is only read. Every question has slots of its own, for its suffix and its response; a step
writes one of them, attends to both and merges (see ``partial_attention``).

Shape suffixes:
- B = questions that go on, G = key heads, P = shared tokens, L = slots of a question, D = head size
- S = tokens of the pass's row, N = steps that are read at once
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.models.devices.graphs import WARM_UP
from pipeline.models.devices.transfer import Download, upload
from pipeline.models.generation import choose_tokens
from pipeline.models.key_parts import Layers, PassingCache
from pipeline.models.partial_attention import Merged, alone, attend, attend_slots, merge
from pipeline.models.text_model import TextModel

Bounds = Sequence[tuple[int, int]]


class Shape(NamedTuple):
    """What a captured step is good for."""

    questions: int
    shared: int
    slots: int


class Slots:
    """Implements ``KeyParts`` for steps of one token per question.

    Args:
        text: the language model.
        shape: how many questions, shared tokens and slots.
        own: layers like those that will be loaded.
        steps: the most between two readings.
        arena: where shared keys and values are copied to; without one they are used where they lie.
    """

    def __init__(self, text: TextModel, shape: Shape, own: Layers, *, steps: int, arena: Layers | None = None) -> None:
        device, num_questions = text.device, shape.questions
        self._text, self._shape, self._is_copy = text, shape, arena is not None
        self._shared: Layers = tuple(
            (keys[:, :, : shape.shared], values[:, :, : shape.shared]) for keys, values in arena or ()
        )
        self._own = tuple(
            (_own_slots(keys, num_questions, shape.slots), _own_slots(values, num_questions, shape.slots))
            for keys, values in own
        )
        self._ids_B = torch.zeros(num_questions, dtype=torch.int64, device=device)
        self._positions_B, self._slot_B = torch.zeros_like(self._ids_B), torch.zeros_like(self._ids_B)
        self._row = torch.zeros(1, dtype=torch.int64, device=device)
        self._place_L = torch.arange(shape.slots, device=device)
        steps += WARM_UP
        self._chosen_NB = torch.zeros((steps, num_questions), dtype=torch.int64, device=device)
        self._entropies_NB = torch.zeros((steps, num_questions), dtype=torch.float32, device=device)
        self._num_before = 0
        self._by_device: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def load(
        self,
        shared: Layers,
        own: Layers,
        *,
        num_rest: int,
        bounds: Bounds,
        chosen_B: Tensor,
        next_positions: Sequence[int],
    ) -> None:
        """Begin with these; nothing is waited for.

        Args:
            shared: ``(1, G, P, D)`` per layer.
            own: ``(1, G, S, D)`` per layer.
            num_rest: the first of them, which belong to every question.
            bounds: of each question's tokens among those that follow.
            chosen_B: first response tokens, on any device.
            next_positions: their rotary positions.
        """
        device = self._text.device
        if self._is_copy:
            for target, source in zip(self._shared, shared, strict=True):
                for to, values in zip(target, source, strict=True):
                    to.copy_(values)
        else:
            self._shared = shared
        longest = max(stop - start for start, stop in bounds)
        if num_rest + longest:
            rest, steps_L = np.arange(num_rest), np.arange(longest)
            # beyond its end a question repeats a token, until a response's takes the slot; it is not seen before
            own_rows = [start + np.minimum(steps_L, max(stop - start - 1, 0)) for start, stop in bounds]
            padded = np.concatenate([np.append(rest, num_rest + row) for row in own_rows])
            self._load_own(own, upload(padded, device), num_rest + longest)
        self._ids_B.copy_(chosen_B)
        self._positions_B.copy_(upload(np.asarray(next_positions), device))
        self._slot_B.copy_(upload(np.asarray([num_rest + stop - start for start, stop in bounds]), device))
        self._num_before = max(next_positions) + self._shape.slots

    def _load_own(self, own: Layers, padded: Tensor, longest: int) -> None:
        there: dict[torch.device, Tensor] = {}
        for targets, sources in zip(self._own, own, strict=True):
            for target_BGLD, source_1GSD in zip(targets, sources, strict=True):
                index = there.setdefault(source_1GSD.device, padded.to(source_1GSD.device, non_blocking=True))
                rows = source_1GSD[0].index_select(1, index)
                split = rows.view(rows.shape[0], self._shape.questions, longest, rows.shape[2])
                target_BGLD[:, :, :longest].copy_(split.transpose(0, 1))

    def step(self) -> None:
        """One token of every question, ended or not; nothing but what lies on the device goes into it."""
        text = self._text
        self._by_device = {}
        hidden_BD = text.run(
            text.embed(self._ids_B), self._positions_B, cache=PassingCache(self._num_before), parts=self
        )
        chosen_B, entropies_B = choose_tokens(text.logits(hidden_BD))
        self._ids_B.copy_(chosen_B)  # with several GPUs logits come out of the last one
        self._chosen_NB.index_copy_(0, self._row, self._ids_B[None])
        self._entropies_NB.index_copy_(0, self._row, entropies_B[None].to(self._row.device, torch.float32))
        for counter in (self._positions_B, self._slot_B, self._row):
            counter.add_(1)

    def rewind(self) -> None:
        """The next step's results are the first to be read."""
        self._row.zero_()

    def results(self, num_steps: int) -> Download:
        """Tokens and entropies ``(N, B)`` of the steps since ``rewind``."""
        return Download(self._chosen_NB[:num_steps], self._entropies_NB[:num_steps])

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float) -> Merged:
        """See ``KeyParts``; puts key and value into their slots."""
        slot_B1, mask_BL = self._places_on(key.device, query.dtype)
        keys_BGLD, values_BGLD = self._own[layer]
        index = slot_B1[:, :, None, None].expand(-1, key.shape[1], 1, key.shape[3])
        keys_BGLD.scatter_(2, index, key[0].transpose(0, 1)[:, :, None])
        values_BGLD.scatter_(2, index, value[0].transpose(0, 1)[:, :, None])
        own = attend_slots(query, keys_BGLD, values_BGLD, mask_BL, scaling=scaling)
        if not self._shape.shared:
            return alone(own, query.dtype)
        return merge(attend(query, *self._shared[layer], scaling=scaling), own, query.dtype)

    def prefix_keys(self, layer: int) -> Tensor:
        """See ``KeyParts``."""
        return self._shared[layer][0]

    def _places_on(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Slot that is written ``(B, 1)`` and the mask of those not seen yet ``(B, L)``, once a step on each device."""
        if device not in self._by_device:
            slot_B, place_L = (values.to(device, non_blocking=True) for values in (self._slot_B, self._place_L))
            mask_BL = torch.zeros((self._shape.questions, self._shape.slots), dtype=dtype, device=device)
            mask_BL.masked_fill_(place_L[None] > slot_B[:, None], -torch.inf)
            self._by_device[device] = slot_B[:, None], mask_BL
        return self._by_device[device]


def _own_slots(states_1GSD: Tensor, num_questions: int, num_slots: int) -> Tensor:
    """Zeros ``(B, G, L, D)``: a slot that no one sees must still be a number."""
    _, heads, _, size = states_1GSD.shape
    return states_1GSD.new_zeros((num_questions, heads, num_slots, size))
