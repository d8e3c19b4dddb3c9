"""Device memory as the caching allocator hands it out: it is a stream's, and others must be put in order with it."""

import weakref
from dataclasses import dataclass, field

from torch import Tensor

from tests.cuda_on_cpu.streams import Stream, Timeline


def storage_of(host: Tensor) -> int:
    """Identity of the memory behind a host tensor."""
    return int(host.untyped_storage()._cdata)


@dataclass(kw_only=True, slots=True, eq=False)
class Block:
    """One storage.

    Attributes:
        owner: stream it was allocated in; when it is freed, that stream may have it again at once.
        reads: stream -> its last operation that read it; ``write``: stream and operation.
        recorded: streams that ``record_stream`` named.
    """

    owner: Stream
    num_bytes: int
    reads: dict[str, int] = field(default_factory=dict)
    write: tuple[str, int] | None = None
    recorded: set[str] = field(default_factory=set)
    num_holders: int = 0


class Holder:
    """Of one reference to a block."""


class Memory:
    """All blocks that somebody holds; the last holder that goes frees one."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline, self._blocks = timeline, dict[int, Block]()
        self.bytes_now = self.bytes_peak = 0

    def hold(self, host: Tensor, stream: Stream) -> "Holder":
        """Somebody refers to the block behind ``host`` for as long as the holder lives."""
        key = storage_of(host)
        if key not in self._blocks:
            self._blocks[key] = Block(owner=stream, num_bytes=host.untyped_storage().nbytes())
            self.bytes_now += self._blocks[key].num_bytes
            self.bytes_peak = max(self.bytes_peak, self.bytes_now)
        self._blocks[key].num_holders += 1
        holder = Holder()
        weakref.finalize(holder, self._drop, key)
        return holder

    def record(self, host: Tensor, stream: Stream) -> None:
        self._blocks[storage_of(host)].recorded.add(stream.name)

    def read(self, host: Tensor, stream: Stream, time: int) -> None:
        block = self._after_write(host, stream)
        block.reads[stream.name] = time

    def write(self, host: Tensor, stream: Stream, time: int) -> None:
        block = self._after_write(host, stream)
        for other, read_time in block.reads.items():
            if other != stream.name and stream.clock[other] < read_time:
                self._timeline.journal.fault(f"stream {stream.name} overwrites what {other} may still read")
        block.write = (stream.name, time)

    def _after_write(self, host: Tensor, stream: Stream) -> Block:
        block = self._blocks[storage_of(host)]
        if block.write and block.write[0] != stream.name and stream.clock[block.write[0]] < block.write[1]:
            self._timeline.journal.fault(f"stream {stream.name} uses what {block.write[0]} wrote, without an order")
        return block

    def _drop(self, key: int) -> None:
        block = self._blocks[key]
        block.num_holders -= 1
        if block.num_holders:
            return
        del self._blocks[key]
        self.bytes_now -= block.num_bytes
        uses = dict(block.reads)
        if block.write:
            uses[block.write[0]] = max(uses.get(block.write[0], 0), block.write[1])
        for other, time in uses.items():
            is_known = block.owner.clock[other] >= time or self._timeline.host[other] >= time
            if other != block.owner.name and other not in block.recorded and not is_known:
                self._timeline.journal.fault(f"memory of stream {block.owner.name} is freed while {other} may use it")


class PinnedMemory:
    """Page-locked host memory: the only kind from which and to which a copy runs beside the host."""

    def __init__(self) -> None:
        self._held: dict[int, Tensor] = {}

    def pin(self, host: Tensor) -> Tensor:
        self._held[storage_of(host)] = host
        return host

    def has(self, host: Tensor) -> bool:
        return storage_of(host) in self._held
