"""What decoding takes, in seconds of one CPU core, from codec, pixels and coded bytes; and with a frame store.

``frames * (pixels / rate + coded bytes * seconds per byte) + wanted * (pixels read and written)``. Fitted to PyAV on
one core of a Xeon with generated films of 640 x 360 and 1280 x 720 at two bit rates each; a measured factor carries it
over to another machine. How far it holds elsewhere: docs/video.md, "What decoding costs".
"""

from dataclasses import dataclass
from typing import NamedTuple


class CodecCost(NamedTuple):
    """Of one codec at 8 bits."""

    pixels_per_s: float
    s_per_byte: float


CODECS = {
    "h264": CodecCost(1.05e9, 1.6e-7),
    "hevc": CodecCost(1.10e9, 1.25e-7),
    "vp9": CodecCost(7.0e8, 1.5e-7),
    "libdav1d": CodecCost(2.2e9, 0.9e-7),
    "mpeg4": CodecCost(2.5e9, 2.0e-8),
    "mpeg2video": CodecCost(2.5e9, 2.0e-8),
}
DEEP_FACTOR = 1.6  # more than 8 bits: fewer of the fast routines
_READ_S, _WRITE_S = 1.2e-9, 3.5e-9  # per pixel of the source, and of the frame that is handed on
# per pixel: seconds to write and to read, and bytes, which depend on the picture (0.5 to 2.2, 0.15 to 0.7)
_PACK_S = {"lossless": 1.3e-8, "high": 1.8e-8}
_UNPACK_S = {"lossless": 1.6e-8, "high": 1.8e-8}
_STORED_BYTES = {"lossless": 1.2, "high": 0.4}


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameReading:
    """What is read of one video.

    Attributes:
        codec: as FFmpeg's decoder is called.
        frame_pixels: of a coded frame.
        coded_bytes: of a coded frame, on average.
        num_decoded: coded frames that are decoded.
        num_wanted: frames that are handed on.
        wanted_pixels: of one of those.
    """

    codec: str
    bit_depth: int
    frame_pixels: int
    coded_bytes: float
    num_decoded: int
    num_wanted: int
    wanted_pixels: int


def decode_seconds(work: FrameReading) -> float:
    """Core seconds; a codec that was not measured counts as H.264."""
    codec = CODECS.get(work.codec, CODECS["h264"])
    per_frame = work.frame_pixels / codec.pixels_per_s + work.coded_bytes * codec.s_per_byte
    per_frame *= DEEP_FACTOR if work.bit_depth > 8 else 1.0
    per_wanted = work.frame_pixels * _READ_S + work.wanted_pixels * _WRITE_S
    return work.num_decoded * per_frame + work.num_wanted * per_wanted


def store_seconds(work: FrameReading, quality: str) -> tuple[float, float]:
    """Core seconds to put the wanted frames into a frame store, and to take them out again."""
    pixels = work.num_wanted * work.wanted_pixels
    return pixels * _PACK_S[quality], pixels * _UNPACK_S[quality]


def store_bytes(work: FrameReading, quality: str) -> float:
    """About what the wanted frames take in a frame store."""
    return work.num_wanted * work.wanted_pixels * _STORED_BYTES[quality]
