"""The way of one video's questions from bought tokens to an answer: gathers, final passes. No clock, no I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import GatherWork, Ref


@dataclass(kw_only=True, slots=True, eq=False)
class _Gather:
    """One question's bought tokens: awaited from some workers, there from others."""

    awaited: dict[str, WorkKey] = field(default_factory=dict)
    pieces: dict[str, Ref] = field(default_factory=dict)


class FinalPasses:
    """By question. A question that loses anything on the way waits again, and is gathered anew as a whole."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.to_hand_out: list[int] = []
        self._gathers: dict[int, _Gather] = {}
        self._answering: dict[int, WorkKey] = {}

    def has_tokens(self, question: int) -> bool:
        """Whether all that it bought has been gathered, so that nothing more of its groups is needed."""
        return question in self._gathers and not self._gathers[question].awaited

    def start(
        self,
        question: int,
        bought: npt.NDArray[np.int64],
        holder: Mapping[int, str],
        make_key: Callable[[Stage, int], WorkKey],
        by_patch: Sequence[npt.NDArray[np.int64]] | None = None,
    ) -> dict[str, GatherWork]:
        """One gather per worker that holds bought tokens; none, and it waits on, while a bought group has no holder."""
        positions = np.flatnonzero(bought).tolist()
        if any(position not in holder for position in positions):
            return {}
        by_worker: dict[str, dict[int, int]] = {}
        for position in positions:
            by_worker.setdefault(holder[position], {})[position] = int(bought[position])
        gathers = {}
        for worker, part in by_worker.items():
            patches = {} if by_patch is None else {p: tuple(by_patch[p].tolist()) for p in part}
            gathers[worker] = GatherWork(key=make_key(Stage.GATHER, question), bought=part, by_patch=patches)
        self.waiting.remove(question)
        self._gathers[question] = _Gather(awaited={worker: gather.key for worker, gather in gathers.items()})
        return gathers

    def is_current(self, key: WorkKey) -> bool:
        """Whether the result of a gather or a final pass is still awaited."""
        if key.stage is Stage.ANSWER:
            return self._answering.get(key.index) == key
        gather = self._gathers.get(key.index)
        return gather is not None and key in gather.awaited.values()

    def take_gathered(self, key: WorkKey, worker: str, pieces: Ref) -> None:
        """File gathered tokens; when they are complete the final pass can be handed out."""
        gather = self._gathers[key.index]
        del gather.awaited[worker]
        gather.pieces[worker] = pieces
        if not gather.awaited:
            self.to_hand_out.append(key.index)

    def hand_out(self, question: int, key: WorkKey) -> tuple[Ref, ...]:
        """The final pass begins: references to its tokens."""
        self.to_hand_out.remove(question)
        self._answering[question] = key
        return tuple(self._gathers[question].pieces.values())

    def put_back(self, question: int) -> None:
        """The final pass did not end, but its tokens are there."""
        del self._answering[question]
        self.to_hand_out.append(question)

    def gather_again(self, question: int) -> None:
        """Some of its tokens are gone."""
        self.forget(question)
        self.waiting.append(question)

    def forget(self, question: int) -> None:
        """It is over, or starts over."""
        self._gathers.pop(question, None)
        self._answering.pop(question, None)
        for queue in (self.waiting, self.to_hand_out):
            if question in queue:
                queue.remove(question)

    def lose_worker(self, worker: str) -> bool:
        """Gather anew what was awaited from a worker or lay with it, unless a final pass may have fetched it already.

        Returns:
            Whether there was anything.
        """
        hit = [
            question
            for question, gather in self._gathers.items()
            if question not in self._answering and (worker in gather.awaited or worker in gather.pieces)
        ]
        for question in hit:
            self.gather_again(question)
        return bool(hit)
