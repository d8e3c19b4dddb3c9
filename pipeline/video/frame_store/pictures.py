"""One frame as bytes: its coding, and the decoding of bytes that nobody vouches for.

Chosen by measurement (docs/video.md). ``lossless``: the difference of red and blue to green, each row less the one
above it, plane by plane, then zstd. ``high``: JPEG by Pillow without subsampling of colours; it loses a little, and a
checksum of what it decodes to is kept beside it.
"""

import io
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Quality = Literal["lossless", "high"]
Images = npt.NDArray[np.uint8]
MAX_SIDE = 65_500  # of a JPEG
_JPEG_QUALITY, _ZSTD_LEVEL = 90, 1
_OVERHEAD_BYTES = 4_096


@cache
def _zstd() -> Any:
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=_ZSTD_LEVEL)


def load_codecs() -> None:
    """Before work begins, so that nothing is loaded later: a picture of each kind there and back, and a broken one."""
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    kinds: tuple[Quality, ...] = ("lossless", "high")
    for quality in kinds:
        packed, out = pack_picture(image, quality), np.empty((1, 8, 8, 3), np.uint8)
        unpack_pictures(packed, [len(packed)], out, quality)
        with suppress(ValueError):
            unpack_pictures(packed[:20], [20], out, quality)


def pack_picture(image: Images, quality: Quality) -> bytes:
    """(height, width, 3) RGB as one picture."""
    if quality == "lossless":
        planes = np.ascontiguousarray(np.moveaxis(image, 2, 0))
        planes[0] -= planes[1]
        planes[2] -= planes[1]
        rows = planes.copy()
        rows[:, 1:] -= planes[:, :-1]
        packed: bytes = _zstd().compress(rows, asbytes=True)
        return packed
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def most_bytes(height: int, width: int) -> int:
    """More than any picture of this size takes."""
    return 2 * height * width * 3 + _OVERHEAD_BYTES


def unpack_pictures(packed: bytes | memoryview, lengths: Sequence[int], out: Images, quality: Quality) -> None:
    """Decode n pictures that lie one after another into ``out`` (n, height, width, 3).

    Raises:
        ValueError: One is no picture of this size; what it says of its own size is compared before it is decoded.
    """
    if len(lengths) != len(out) or sum(lengths) != len(packed):
        raise ValueError(f"{len(lengths)} pictures of {sum(lengths)} bytes in all, {len(out)} of {len(packed)} wanted")
    unpack = _unpack_lossless if quality == "lossless" else _unpack_jpeg
    start = 0
    for target, length in zip(out, lengths, strict=True):
        unpack(memoryview(packed)[start : start + length], target)
        start += length


def _unpack_lossless(content: memoryview, target: Images) -> None:
    height, width = target.shape[:2]
    try:
        rows = _zstd().decompress(content, target.nbytes, asbytes=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"a picture that cannot be decompressed ({error})") from error
    planes = np.cumsum(np.frombuffer(rows, np.uint8).reshape(3, height, width), axis=1, dtype=np.uint8)
    planes[0] += planes[1]
    planes[2] += planes[1]
    for channel, plane in enumerate(planes):
        target[..., channel] = plane


def _unpack_jpeg(content: memoryview, target: Images) -> None:
    from PIL import Image

    height, width = target.shape[:2]
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:  # reads the header alone
            if image.size != (width, height):
                raise ValueError(f"a picture that is not {width} x {height}")
            target[:] = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a picture that cannot be decoded ({error})") from error


def check_pixels(frame: Images) -> int:
    """What tells that a frame came back as it was."""
    return zlib.crc32(np.ascontiguousarray(frame).data)
