"""Which H.264 packets hold the second field of a frame whose first field came before: one frame, not two.

Source: ITU-T H.264 7.3.2.1.1 (sequence parameter set), 7.3.3 (slice header).
"""

from contextlib import suppress
from dataclasses import dataclass

from pipeline.video.timeline.syntax import Bits, split_nal_units

_SLICES, _SEQUENCE = (1, 2, 5), 7
_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_PAYLOAD_BYTES = 256


@dataclass(frozen=True, slots=True)
class _Sequence:
    frame_num_bits: int
    has_fields: bool
    has_planes: bool


class FieldPairs:
    """Fed with the packets of one stream in the order in which they are stored."""

    def __init__(self, extradata: bytes | None) -> None:
        self._extradata, self._sequence = extradata or b"", _Sequence(0, False, False)
        self._open_field: tuple[int, int] | None = None  # frame number and parity of one that waits for its second
        is_boxed = self._extradata[:1] == b"\1"  # a box of mp4 with one parameter set behind eight bytes of head
        for unit in [self._extradata[8:]] if is_boxed else split_nal_units("h264", self._extradata, b""):
            self._learn(unit)

    def is_second(self, data: bytes) -> bool:
        """Whether a packet completes the frame of the one before it."""
        try:
            for unit in split_nal_units("h264", data, self._extradata):
                self._learn(unit)
                if unit[0] & 31 in _SLICES:
                    return self._pair(unit) if self._sequence.has_fields else False
        except IndexError:
            self._open_field = None
        return False

    def _pair(self, unit: bytes) -> bool:
        bits = Bits(_without_guards(unit[1:]))
        for _ in range(3):  # first macroblock, type, picture parameter set
            bits.read_golomb()
        bits.read(2 * self._sequence.has_planes)
        frame_num, is_field = bits.read(self._sequence.frame_num_bits), bits.read(1)
        if not is_field:
            self._open_field = None
            return False
        parity = bits.read(1)
        is_second = self._open_field == (frame_num, 1 - parity)
        self._open_field = None if is_second else (frame_num, parity)
        return is_second

    def _learn(self, unit: bytes) -> None:
        if len(unit) > 4 and unit[0] & 31 == _SEQUENCE:
            with suppress(IndexError):  # broken; the one before stays
                self._sequence = _read_sequence(Bits(_without_guards(unit[1:])))


def _without_guards(data: bytes) -> bytes:
    """Without the bytes that keep start codes from appearing."""
    return data[:_PAYLOAD_BYTES].replace(b"\0\0\3", b"\0\0")


def _read_sequence(bits: Bits) -> _Sequence:
    profile, has_planes = bits.read(8), False
    bits.read(16)
    bits.read_golomb()
    if profile in _WITH_CHROMA:
        chroma = bits.read_golomb()
        has_planes = chroma == 3 and bool(bits.read(1))
        bits.read_golomb(), bits.read_golomb(), bits.read(1)
        if bits.read(1):
            for number in range(8 if chroma != 3 else 12):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    frame_num_bits = bits.read_golomb() + 4
    order = bits.read_golomb()
    if order == 0:
        bits.read_golomb()
    elif order == 1:
        bits.read(1)
        bits.read_golomb(), bits.read_golomb()
        for _ in range(bits.read_golomb()):
            bits.read_golomb()
    bits.read_golomb(), bits.read(1), bits.read_golomb(), bits.read_golomb()
    return _Sequence(frame_num_bits, has_fields=bits.read(1) == 0, has_planes=has_planes)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.read_golomb()
            following = (last + ((code + 1) // 2 if code % 2 else -(code // 2)) + 256) % 256
        last = following or last
