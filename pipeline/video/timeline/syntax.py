"""What a coded picture says of itself, in its codec's own bits: whether decoding can start there, whether it is shown.

A container's flags are claims; these bits are what the decoder obeys. Sources: ITU-T H.264 7.3, H.265 7.3.1, ISO/IEC
14496-2 6.2.5, 13818-2 6.2, RFC 6386 9.1, the VP9 bitstream 6.2 and the AV1 bitstream 5.3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_H264_SLICES, _H264_IDR, _H264_SEI = range(1, 6), 5, 6
_HEVC_IDR, _HEVC_OPEN, _HEVC_SLICES = (19, 20), (16, 17, 18, 21), range(32)
_RECOVERY_POINT = 6
_LOOKED_AT = 64
_MPEG4_PLACEHOLDER_BYTES = 20
_MOST_NAL_UNITS = 64  # before the first slice
_AV1_SEQUENCE_HEADER, _AV1_FRAMES = 1, (3, 6)
_ALL_INTRA: tuple[str, ...] = (
    "mjpeg",
    "mjpegb",
    "prores",
    "dnxhd",
    "dvvideo",
    "jpeg2000",
    "png",
    "huffyuv",
    "ffvhuff",
    "utvideo",
)
_ALL_INTRA += ("magicyuv", "v210", "cfhd", "hap", "bmp")


class Start(StrEnum):
    """Whether decoding can start with a picture."""

    CLOSED = "closed"  # and everything behind it decodes
    OPEN = "open"  # but pictures shown before it may refer to what came before
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """What one packet holds; ``is_shown`` is False where it holds no picture, or one that is only referred to.

    ``is_reordered``: it is, or may be, a picture between two others that it refers to.
    """

    start: Start
    is_shown: bool = True
    is_reordered: bool = True


UNKNOWN = CodedPicture(Start.UNKNOWN)


def read_picture(codec: str, data: bytes, extradata: bytes | None) -> CodedPicture:
    """Read one packet of a codec, by FFmpeg's name; ``UNKNOWN`` where it says nothing that can be relied on."""
    if not any(data[:_LOOKED_AT]):  # a hole in a copy that holds the index only
        return UNKNOWN
    try:
        if codec in ("h264", "hevc"):
            return _read_nal_units(codec, data, extradata or b"")
        if codec in _ALL_INTRA:
            return CodedPicture(Start.CLOSED, is_reordered=False)
        reader = _READERS.get(codec)
        return reader(data) if reader is not None else UNKNOWN
    except IndexError:  # shorter than its own header
        return UNKNOWN


def _read_nal_units(codec: str, data: bytes, extradata: bytes) -> CodedPicture:
    read = _read_h264 if codec == "h264" else _read_hevc
    return read(split_nal_units(codec, data, extradata))


def split_nal_units(codec: str, data: bytes, extradata: bytes) -> Iterator[bytes]:
    """The first bytes of each unit of a packet, as the codec's extradata says how they are told apart.

    Raises:
        IndexError: a length is wrong.
    """
    length_bytes = _length_bytes(codec, extradata)
    return _split_by_length(data, length_bytes) if length_bytes else _split_by_code(data)


def _length_bytes(codec: str, extradata: bytes) -> int:
    """Of a NAL unit's length; 0 where units stand behind start codes."""
    if len(extradata) < 23 - 16 * (codec == "h264") or extradata[:3] in (b"\0\0\0", b"\0\0\1"):
        return 0
    return (extradata[4 if codec == "h264" else 21] & 3) + 1


def _split_by_length(data: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    for _ in range(_MOST_NAL_UNITS):
        if at + length_bytes >= len(data):
            return
        length = int.from_bytes(data[at : at + length_bytes])
        at += length_bytes
        if length == 0 or at + length > len(data):
            raise IndexError("a unit that is longer than its packet")
        yield data[at : at + min(length, 256)]
        at += length


def _split_by_code(data: bytes) -> Iterator[bytes]:
    at = data.find(b"\0\0\1")
    for _ in range(_MOST_NAL_UNITS):
        if at < 0 or at + 3 >= len(data):
            return
        yield data[at + 3 : at + 3 + 256]
        at = data.find(b"\0\0\1", at + 3)


def _read_h264(units: Iterator[bytes]) -> CodedPicture:
    recovery, num_units = None, 0
    for unit in units:
        num_units += 1
        kind = unit[0] & 31
        if kind == _H264_SEI:
            recovery = _recovery_frames(unit[1:]) if recovery is None else recovery
        if kind == _H264_IDR:
            return CodedPicture(Start.CLOSED, is_reordered=False)
        if kind in _H264_SLICES:
            bits = Bits(unit[1:17])
            bits.read_golomb()  # first_mb_in_slice
            kind = bits.read_golomb() % 5
            if recovery == 0:
                return CodedPicture(Start.OPEN, is_reordered=False)
            return CodedPicture(Start.UNKNOWN if kind in (2, 4) else Start.NONE, is_reordered=kind == 1)
        if kind == 0 or kind > 23:
            return UNKNOWN
    return CodedPicture(Start.NONE, is_shown=False) if num_units else UNKNOWN


def _recovery_frames(message: bytes) -> int | None:
    """``recovery_frame_cnt`` of an SEI that holds a recovery point."""
    at = 0
    while at + 1 < len(message) and message[at] != 0x80:
        kind = size = 0
        while message[at] == 255:
            kind, at = kind + 255, at + 1
        kind, at = kind + message[at], at + 1
        while message[at] == 255:
            size, at = size + 255, at + 1
        size, at = size + message[at], at + 1
        if kind == _RECOVERY_POINT:
            return Bits(message[at : at + size]).read_golomb()
        at += size
    return None


def _read_hevc(units: Iterator[bytes]) -> CodedPicture:
    num_units = 0
    for unit in units:
        num_units += 1
        kind = (unit[0] >> 1) & 63
        if kind in _HEVC_IDR:
            return CodedPicture(Start.CLOSED)
        if kind in _HEVC_SLICES:
            return CodedPicture(Start.OPEN if kind in _HEVC_OPEN else Start.NONE)
        if unit[0] & 0x80 or kind > 47:
            return UNKNOWN
    return CodedPicture(Start.NONE, is_shown=False) if num_units else UNKNOWN


def _read_mpeg4(data: bytes) -> CodedPicture:
    at = data.find(b"\0\0\1\xb6")
    if at < 0:
        return UNKNOWN
    kind = data[at + 4] >> 6
    if len(data) < _MPEG4_PLACEHOLDER_BYTES:  # its picture, if any, came with the packet before
        return CodedPicture(Start.NONE)
    return CodedPicture(
        Start.OPEN if kind == 0 else Start.NONE, is_reordered=kind == 2 or data.count(b"\0\0\1\xb6") > 1
    )


def _read_mpeg12(data: bytes) -> CodedPicture:
    at = data.find(b"\0\0\1\0")
    if at < 0:
        return UNKNOWN
    if (data[at + 5] >> 3) & 7 != 1:
        return CodedPicture(Start.NONE, is_reordered=(data[at + 5] >> 3) & 7 == 3)
    group = data.find(b"\0\0\1\xb8", 0, at)
    return CodedPicture(Start.CLOSED if group >= 0 and data[group + 7] & 64 else Start.OPEN, is_reordered=False)


def _read_vp8(data: bytes) -> CodedPicture:
    return CodedPicture(Start.NONE if data[0] & 1 else Start.CLOSED, is_shown=bool(data[0] & 16))


def _read_vp9(data: bytes) -> CodedPicture:
    bits = Bits(data[:8])
    if bits.read(2) != 2:
        return UNKNOWN
    profile = bits.read(1) + 2 * bits.read(1)
    if profile == 3:
        bits.read(1)
    if bits.read(1):  # shows one that came before
        return CodedPicture(Start.NONE)
    is_key, is_shown = bits.read(1) == 0, bits.read(1) == 1
    holds_several = data[-1] >> 5 == 6
    return CodedPicture(Start.CLOSED if is_key else Start.NONE, is_shown=is_shown or holds_several)


def _read_av1(data: bytes) -> CodedPicture:
    at, has_sequence = 0, False
    while at < len(data):
        kind, has_extension, has_size = (data[at] >> 3) & 15, data[at] & 4, data[at] & 2
        at += 2 if has_extension else 1
        size = len(data) - at
        if has_size:
            size = shift = 0
            while data[at] & 128:
                size, shift, at = size | (data[at] & 127) << shift, shift + 7, at + 1
            size, at = size | data[at] << shift, at + 1
        if kind == _AV1_SEQUENCE_HEADER:
            has_sequence = True
            if data[at] & 8:  # reduced_still_picture_header
                return CodedPicture(Start.CLOSED)
        if kind in _AV1_FRAMES:
            is_key = data[at] & 0x80 == 0 and (data[at] >> 5) & 3 == 0
            if not is_key:
                return CodedPicture(Start.NONE)
            return CodedPicture(Start.CLOSED if data[at] & 16 else Start.OPEN) if has_sequence else UNKNOWN
        at += size
    return UNKNOWN


_READERS = {
    "mpeg4": _read_mpeg4,
    "mpeg1video": _read_mpeg12,
    "mpeg2video": _read_mpeg12,
    "vp8": _read_vp8,
    "vp9": _read_vp9,
    "av1": _read_av1,
    "libdav1d": _read_av1,
}


class Bits:
    """Bits of a header, the highest of a byte first.

    Bytes that keep a start code apart are not taken out: none lies in the first few bits that are read here.
    """

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def read(self, count: int) -> int:
        """The next bits as a number.

        Raises:
            IndexError: there are fewer.
        """
        if count > self._left:
            raise IndexError(f"{count} bits wanted, {self._left} left")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def read_golomb(self) -> int:
        """An unsigned Exp-Golomb code."""
        num_zeros = 0
        while self.read(1) == 0:
            num_zeros += 1
        return (1 << num_zeros) - 1 + self.read(num_zeros)
