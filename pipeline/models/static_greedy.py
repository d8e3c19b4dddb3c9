"""Greedy generation in tensors that stay where they are, so that a step can be captured once and played again.

The host reads several steps at once; what a response holds beyond its end is dropped.

Shape suffixes: B = questions that go on, N = steps that are read at once
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from pipeline.models.devices.graphs import WARM_UP
from pipeline.models.devices.transfer import upload
from pipeline.models.generation import GreedyRow
from pipeline.models.key_parts import KeyState, Layers
from pipeline.models.responses import PendingResponses
from pipeline.models.slots import Bounds, Shape, Slots
from pipeline.models.text_model import TextModel

STEPS_PER_READ = 4  # a response ends up to three steps late, and a step costs as much as many waits
_SLOT_MULTIPLE = 64
SHARED_MULTIPLE = 256  # tokens; the rest of what is shared goes to each question's slots, so that lengths seldom differ
_ARENA_MULTIPLE = 1024  # shared tokens; a larger arena makes all captured steps void
_KEPT = 4  # captured steps: prefixes of a video are about as long, open questions come in batches
Step = Callable[[], None]

_log = logging.getLogger(__name__)


def count_held(num_shared: int, num_questions: int, num_own: int) -> int:
    """Tokens whose keys and values captured steps hold at most: one copy of what is shared, slots of all that are kept.

    Args:
        num_shared: tokens of the longest prefix.
        num_questions: that go on together.
        num_own: of a question and its response.
    """
    return _round_up(num_shared, _ARENA_MULTIPLE) + _KEPT * num_questions * _round_up(
        num_own + SHARED_MULTIPLE - 1, _SLOT_MULTIPLE
    )


def _round_up(count: int, multiple: int) -> int:
    return -(-max(count, 1) // multiple) * multiple


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Start:
    """Where one call begins: arguments of ``Slots.load``."""

    shared: Layers
    own: Layers
    num_rest: int
    bounds: Bounds
    chosen_B: torch.Tensor
    next_positions: Sequence[int]

    def load(self, slots: Slots) -> None:
        slots.load(
            self.shared,
            self.own,
            num_rest=self.num_rest,
            bounds=self.bounds,
            chosen_B=self.chosen_B,
            next_positions=self.next_positions,
        )


class StaticGreedy:
    """Implements ``Greedy``.

    Args:
        steps_per_read: 1 looks before every step whether it is needed, which costs nothing on the CPU.
        capture: makes of a step one that plays it again; None runs it as it is. A step that cannot be captured, or
            plays something else than it is, runs as it is.
    """

    def __init__(self, *, steps_per_read: int = STEPS_PER_READ, capture: Callable[[Step], Step] | None = None) -> None:
        self._steps_per_read, self._capture = steps_per_read, capture
        self._captured: dict[Shape, tuple[Slots, Step]] = {}
        self._arena: Layers | None = None

    @property
    def is_capturing(self) -> bool:
        """Whether steps are played; no longer once one could not be captured."""
        return self._capture is not None

    def extend(
        self,
        text: TextModel,
        pending: PendingResponses,
        indices: Sequence[int],
        *,
        state: KeyState,
        bounds: Bounds,
        next_positions: Sequence[int],
    ) -> None:
        """See ``Greedy``."""
        most = max(pending.prompts[index].max_tokens for index in indices)
        num_rest = state.num_shared % SHARED_MULTIPLE
        longest = num_rest + max(stop - start for start, stop in bounds) + max(most, WARM_UP + 1)
        num_slots = _round_up(longest, _SLOT_MULTIPLE)
        shape = Shape(len(indices), state.num_shared - num_rest, num_slots)
        shared, own = _move_rest(*state.split(), num_rest)
        chosen_B = pending.chosen_B[upload(np.asarray(indices), pending.chosen_B.device)]
        start = _Start(
            shared=shared,
            own=own,
            num_rest=num_rest,
            bounds=bounds,
            chosen_B=chosen_B,
            next_positions=next_positions,
        )
        captured = None
        if self._capture is not None and not text.is_scaled(max(next_positions) + num_slots):
            captured = self._find(text, shape, start)
        slots = Slots(text, shape, own, steps=self._steps_per_read) if captured is None else captured[0]
        start.load(slots)
        self._play(text, slots, captured[1] if captured else slots.step, pending, indices, num_left=most - 1)

    def _play(
        self,
        text: TextModel,
        slots: Slots,
        step: Step,
        pending: PendingResponses,
        indices: Sequence[int],
        *,
        num_left: int,
    ) -> None:
        """Play steps and read them until all responses have ended."""
        rows: list[GreedyRow] = []
        if self._steps_per_read == 1:
            rows = [pending.rows[index] for index in indices]
        while num_left and (not rows or any(row.is_open(text.end_ids) for row in rows)):
            num_steps = min(self._steps_per_read, num_left)
            slots.rewind()
            for _ in range(num_steps):
                step()
            chosen_NB, entropies_NB = slots.results(num_steps).read()
            rows = rows or [pending.rows[index] for index in indices]  # they came before: no wait of its own
            for chosen_B, entropies_B in zip(chosen_NB.tolist(), entropies_NB.tolist(), strict=True):
                for row, token, entropy in zip(rows, chosen_B, entropies_B, strict=True):
                    row.add(token, entropy, text.end_ids)
            num_left -= num_steps

    def _find(self, text: TextModel, shape: Shape, start: _Start) -> tuple[Slots, Step] | None:
        """The captured step of a shape; None where there is none. The one unused for longest gives way to a new one."""
        found = self._captured.pop(shape, None)
        if found is None or not self._holds(shape):
            found = self._capture_step(text, shape, start)
        if found is not None:
            self._captured[shape] = found
        return found

    def _capture_step(self, text: TextModel, shape: Shape, start: _Start) -> tuple[Slots, Step] | None:
        assert self._capture is not None
        try:
            if not self._holds(shape):
                self._captured.clear()
                self._arena = _new_arena(start.shared, shape.shared)
            while len(self._captured) >= _KEPT:
                self._captured.pop(next(iter(self._captured)))
            slots = Slots(text, shape, start.own, steps=self._steps_per_read, arena=self._arena)
            start.load(slots)
            play = self._capture(slots.step)
            if _same(start, slots, play):
                return slots, play
            why = "it plays other tokens than it was captured from"
        except RuntimeError as error:  # a kernel that asks the host, or memory for one more copy
            why = str(error).partition("\n")[0]
        _log.warning("open answers are generated without CUDA graphs: %s", why)
        self._capture, self._arena = None, None
        self._captured.clear()
        return None

    def _holds(self, shape: Shape) -> bool:
        return self._arena is not None and self._arena[0][0].shape[2] >= shape.shared


def _move_rest(shared: Layers, own: Layers, num_rest: int) -> tuple[Layers, Layers]:
    """The last shared tokens before the own ones."""
    if not num_rest:
        return shared, own
    edge = shared[0][0].shape[2] - num_rest
    moved = tuple(
        tuple(torch.cat([of_all[:, :, edge:], of_row], dim=2) for of_all, of_row in zip(*pairs, strict=True))
        for pairs in zip(shared, own, strict=True)
    )
    return tuple((keys[:, :, :edge], values[:, :, :edge]) for keys, values in shared), cast(Layers, moved)


def _same(start: _Start, slots: Slots, play: Step) -> bool:
    """Whether playing a step gives, to the bit, what running it gives."""
    read = []
    for step in (slots.step, play):
        start.load(slots)
        slots.rewind()
        step()
        read.append([values.copy() for values in slots.results(1).read()])  # on the host they are the slots' own
    return all(np.array_equal(run, played, equal_nan=True) for run, played in zip(*read, strict=True))


def _new_arena(shared: Layers, num_tokens: int) -> Layers:
    """Zeros ``(1, G, at least num_tokens, D)`` per layer."""
    length = _round_up(num_tokens, _ARENA_MULTIPLE)

    def zeros(states: torch.Tensor) -> torch.Tensor:
        return states.new_zeros((*states.shape[:2], length, states.shape[3]))

    return tuple((zeros(keys), zeros(values)) for keys, values in shared)
