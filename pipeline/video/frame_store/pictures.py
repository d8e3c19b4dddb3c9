"""One frame as one picture: its coding, and the decoding of pictures that nobody vouches for.

WebP and JPEG by Pillow were chosen by measurement (docs/video.md). ``lossless`` is WebP and gives the same pixels back;
``high`` is JPEG without subsampling of colours, loses a little, and a checksum of what it decodes to is kept beside it.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Quality = Literal["lossless", "high"]
Images = npt.NDArray[np.uint8]
MAX_SIDE = 16_383  # of the format
_OPTIONS: dict[Quality, dict[str, Any]] = {
    "lossless": {"format": "WEBP", "lossless": True, "quality": 0, "method": 0},
    "high": {"format": "JPEG", "quality": 90, "subsampling": 0},
}
_OVERHEAD_BYTES = 4_096
_JPEG = b"\xff\xd8\xff"


def pack_picture(image: Images, quality: Quality) -> bytes:
    """(height, width, 3) RGB as one picture."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, **_OPTIONS[quality])
    return buffer.getvalue()


def most_bytes(height: int, width: int) -> int:
    """More than any picture of this size takes."""
    return 2 * height * width * 3 + _OVERHEAD_BYTES


def unpack_pictures(packed: bytes, lengths: Sequence[int], out: Images) -> None:
    """Decode n pictures that lie one after another into ``out`` (n, height, width, 3).

    Raises:
        ValueError: One is no plain picture of this size; its header is read before a byte of it is decoded.
    """
    from PIL import Image

    if len(lengths) != len(out) or sum(lengths) != len(packed):
        raise ValueError(f"{len(lengths)} pictures of {sum(lengths)} bytes in all, {len(out)} of {len(packed)} wanted")
    height, width = out.shape[1:3]
    start = 0
    for target, length in zip(out, lengths, strict=True):
        content = packed[start : start + length]
        start += length
        is_jpeg = content.startswith(_JPEG)  # whose header Pillow reads alone; of WebP it prepares the whole picture
        if not is_jpeg and _webp_size(content) != (height, width):
            raise ValueError(f"a picture that is no WebP of {width} x {height}")
        try:
            with Image.open(io.BytesIO(content), formats=("JPEG" if is_jpeg else "WEBP",)) as image:
                if image.size != (width, height):
                    raise ValueError(f"a picture that is not {width} x {height}")
                target[:] = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"a picture that cannot be decoded ({error})") from error


def check_pixels(frame: Images) -> int:
    """What tells that a frame came back as it was."""
    return zlib.crc32(np.ascontiguousarray(frame).data)


def _webp_size(content: bytes) -> tuple[int, int] | None:
    """Height and width in the header of a file that holds one picture and nothing else; None: it is another file."""
    if len(content) < 30 or content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    if content[12:16] == b"VP8L" and content[20] == 0x2F:
        bits = struct.unpack_from("<I", content, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if content[12:16] == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None
