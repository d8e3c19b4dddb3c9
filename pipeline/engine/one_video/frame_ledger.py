"""Where the frames of one video's groups are: unread, being read, ready, given to a scorer. No clock, no I/O.

Bytes are reserved for whole groups before any of their frames is read, and stay reserved until the group is scored or
nobody needs it any more, also while lost frames are read again: so reading again what was lost never waits for room.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np

from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import DecodeDone, DecodeWork, Ref
from pipeline.engine.one_video.decode_work import VideoSource, build_decode_work
from pipeline.engine.one_video.frame_parts import FrameRoom, GroupParts, Request
from pipeline.planning.video_plan import VideoPlan

IDLE, UNREAD, READING, READY, GIVEN = range(5)


class FrameLedger:
    """One video's frames, by group position. ``IDLE`` groups are scored, or not needed."""

    def __init__(self, plan: VideoPlan, source: VideoSource) -> None:
        self._plan, self._source = plan, source
        self._states = bytearray([UNREAD]) * len(plan.groups)  # bytes: they are searched all the time
        self._was_read = bytearray(len(plan.groups))
        self._pass_of = [index for index, planned in enumerate(plan.passes) for _ in planned.group_positions]
        self._parts: dict[int, GroupParts] = {}
        self._queue: deque[Request] = deque()
        self._in_flight: dict[WorkKey, tuple[Request, str]] = {}
        self._room = FrameRoom(source.groups_per_bundle)
        self.num_passes_started = 0

    @property
    def reserved_bytes(self) -> int:
        """Room taken by frames, read or being read."""
        return self._room.reserved_bytes

    @property
    def was_all_read(self) -> bool:
        """Whether every group has been complete at least once, so that all bad frames are known."""
        return all(self._was_read)

    @property
    def first_unread(self) -> int | None:
        """Lowest position that has no room yet."""
        return self._first(UNREAD)

    @property
    def first_ready(self) -> int | None:
        """Lowest position with all frames, not handed out."""
        return self._first(READY)

    @property
    def num_queued(self) -> int:
        """Stretches not handed out; some may have become unnecessary."""
        return len(self._queue)

    def ready_positions(self) -> Iterator[int]:
        """All of those, ascending."""
        return self._positions(READY)

    def skipped(self, position: int) -> list[int]:
        """Lower positions that are needed and not handed out."""
        states = self._states
        if states.count(IDLE, 0, position) + states.count(GIVEN, 0, position) == position:
            return []
        return [lower for lower in range(position) if states[lower] not in (IDLE, GIVEN)]

    def num_ready(self, before: int) -> int:
        """Groups ready in the positions below ``before``."""
        return self._states.count(READY, 0, before)

    def is_idle(self, position: int) -> bool:
        """Whether nothing is read, held or handed out for a group."""
        return self._states[position] == IDLE

    def _first(self, state: int) -> int | None:
        first = self._states.find(state)
        return None if first < 0 else first

    def _positions(self, state: int) -> Iterator[int]:
        """Ascending; states may change on the way."""
        position = self._states.find(state)
        while position >= 0:
            yield position
            position = self._states.find(state, position + 1)

    def want(self, positions: Iterable[int]) -> None:
        """Groups that are needed again."""
        for position in positions:
            if self._states[position] == IDLE:
                self._states[position] = UNREAD

    def next_chunk(self) -> list[int]:
        """What the next reading yields: the unread groups of the first planned pass that has any."""
        first = self.first_unread
        if first is None:
            return []
        return [p for p in self._plan.passes[self._pass_of[first]].group_positions if self._states[p] == UNREAD]

    def chunk_bytes(self) -> int:
        """Room that the next reading takes."""
        return sum(self._plan.group_bytes(position) for position in self.next_chunk())

    def start_chunk(self) -> None:
        """Reserve the next reading and queue its stretches."""
        positions = self.next_chunk()
        pass_index = self._pass_of[positions[0]]
        bounds = np.array([stretch.frame_indices[0] for stretch in self._plan.passes[pass_index].stretches[1:]])
        for position in positions:
            self._parts[position] = GroupParts.build(self._plan.group_frames(position), bounds)
            self._states[position] = READING
            self._room.reserve(position, self._plan.group_bytes(position))
        self._queue_missing(positions)
        self.num_passes_started += 1

    def _queue_missing(self, positions: Sequence[int]) -> None:
        """Ask for every part that is not there, by stretch, before anything else that is queued."""
        by_stretch: dict[tuple[int, int], list[int]] = {}
        for position in positions:
            refs = self._parts[position].refs
            for stretch in self._parts[position].stretches:
                if refs[stretch] is None:
                    by_stretch.setdefault((self._pass_of[position], stretch), []).append(position)
        for (pass_index, stretch), group in sorted(by_stretch.items(), reverse=True):
            self._queue.appendleft(Request(pass_index=pass_index, stretch=stretch, positions=tuple(group)))

    def hand_out(self, worker: str, make_key: Callable[[Stage, int], WorkKey]) -> DecodeWork | None:
        """The next stretch that somebody needs."""
        while self._queue:
            request = self._queue.popleft()
            parts = {position: self._parts[position] for position in self._open_positions(request)}
            parts = {position: part for position, part in parts.items() if not part.is_asked[request.stretch]}
            if not parts:
                continue
            key = make_key(Stage.DECODE, request.stretch)
            self._in_flight[key] = replace(request, positions=tuple(parts)), worker
            for part in parts.values():
                part.is_asked[request.stretch] = 1
            return build_decode_work(self._plan, key, source=self._source, pass_index=request.pass_index, parts=parts)
        return None

    def _open_positions(self, request: Request) -> list[int]:
        return [
            position
            for position in request.positions
            if self._states[position] == READING and self._parts[position].refs[request.stretch] is None
        ]

    def is_current(self, key: WorkKey) -> bool:
        """Whether the result of a stretch is still awaited."""
        return key in self._in_flight

    def file(self, key: WorkKey, done: DecodeDone) -> None:
        """Take in one stretch; groups that it completes are ready."""
        request, worker = self._in_flight.pop(key)
        for position in self._open_positions(request):
            part = self._parts[position]
            part.refs[request.stretch] = done.bundles[position // self._source.groups_per_bundle]
            part.workers[request.stretch] = worker
            part.num_missing -= 1
            if not part.num_missing:
                self._states[position], self._was_read[position] = READY, 1

    def read_again(self, key: WorkKey) -> None:
        """A stretch was not read: queue what it still has to give."""
        request, _ = self._in_flight.pop(key)
        open_positions = self._open_positions(request)
        for position in open_positions:
            self._parts[position].is_asked[request.stretch] = 0
        if open_positions:
            self._queue.appendleft(request)

    def give(self, position: int) -> tuple[Ref, ...]:
        """Hand a ready group out: the bundles that hold its frames."""
        self._states[position] = GIVEN
        return self.refs_of(position)

    def refs_of(self, position: int) -> tuple[Ref, ...]:
        """Of a group with all frames: the bundles that hold them."""
        return tuple(ref for ref in self._parts[position].refs if ref is not None)

    def take_back(self, positions: Sequence[int], *, lost: AbstractSet[str], is_lost: bool = False) -> None:
        """Given groups were not scored: they are ready again, or read again where frames went with their decoder.

        Args:
            positions: given groups.
            lost: workers that are gone, with all that they stored.
            is_lost: a scorer could not open the frames; all are read again unless a lost decoder explains it.
        """
        for position in positions:
            part = self._parts[position]
            gone = [s for s in part.stretches if part.workers[s] in lost] or (part.stretches if is_lost else [])
            self._states[position] = READY
            self._forget_parts(position, gone)

    def lose_decoder(self, worker: str) -> bool:
        """Frames of waiting groups that a decoder stored are read again; returns whether there were any."""
        hit = []
        for position, part in self._parts.items():
            gone = [stretch for stretch in part.stretches if part.workers[stretch] == worker]
            if gone and self._states[position] != GIVEN:
                hit.append((position, gone))
        for position, gone in hit:
            self._forget_parts(position, gone)
        return bool(hit)

    def _forget_parts(self, position: int, gone: Sequence[int]) -> None:
        if not gone:
            return
        for stretch in gone:
            self._parts[position].forget(stretch)
        self._states[position] = READING
        self._queue_missing([position])

    def drop(self, positions: Iterable[int]) -> None:
        """Groups that are scored, or that nobody needs: their room is free, the object store can drop the frames."""
        for position in positions:
            if self._states[position] >= READING:
                self._room.release(position)
                del self._parts[position]
            self._states[position] = IDLE

    def read_in_order(self) -> None:
        """Give up what was read beyond a group that is unread: its turn comes later, and its room is needed before."""
        first = self.first_unread
        if first is not None:
            beyond = [position for position in self._parts if position > first]
            self.drop(beyond)
            self.want(beyond)

    def take_unneeded(self) -> list[tuple[str, WorkKey]]:
        """Stretches in flight that yield nothing for anybody; their results will not be missed."""
        unneeded = [(w, key) for key, (request, w) in self._in_flight.items() if not self._open_positions(request)]
        for _, key in unneeded:
            del self._in_flight[key]
        if not self._parts:
            self._queue.clear()
        return unneeded
