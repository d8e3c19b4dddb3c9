"""Some frames of one video as bytes: a header that says which, their pictures, and a checksum over all of it.

``magic, length of the header, header (JSON), pictures, SHA-256``. Nothing of it is believed before the checksum is
right, and after that nothing that contradicts what was asked for: who can write a file can write its checksum.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.video.frame_store.pictures import most_bytes

MAGIC = b"adptfrm1"
_HEADER_BYTES, _PER_FRAME_BYTES = 65_536, 64  # of the header, at most: parsed, it takes many times as much
_DIGEST_BYTES = hashlib.sha256().digest_size
_FIXED_BYTES = len(MAGIC) + 4 + _DIGEST_BYTES
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FramePicture:
    """One frame, coded. ``is_bad``: it shows a neighbour, or a picture that the decoder had to patch up.

    ``content`` of a picture that was read is a part of the whole file's bytes: they are large, and not copied.
    """

    content: bytes | memoryview
    pixel_check: int
    is_bad: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredPiece:
    """Frames that one reading gave, ``frame_indices`` (n,) of the video ascending; ``decoder`` read them.

    ``video`` is the address for people, without secrets; nothing depends on it.
    """

    key: str
    size: tuple[int, int]
    video: str
    decoder: str
    frame_indices: IntArray
    pictures: tuple[FramePicture, ...]


def most_piece_bytes(num_frames: int, size: tuple[int, int]) -> int:
    """More than any sound piece of so many frames takes."""
    return _FIXED_BYTES + _HEADER_BYTES + num_frames * (most_bytes(*size) + _PER_FRAME_BYTES)


def pack_piece(piece: StoredPiece) -> bytes:
    """The same frames give the same bytes."""
    header = {
        "key": piece.key,
        "size": list(piece.size),
        "video": piece.video[:4_096],
        "decoder": piece.decoder,
        "frames": piece.frame_indices.tolist(),
        "lengths": [len(picture.content) for picture in piece.pictures],
        "checks": [picture.pixel_check for picture in piece.pictures],
        "bad": [at for at, picture in enumerate(piece.pictures) if picture.is_bad],
    }
    packed = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join([MAGIC, struct.pack("<I", len(packed)), packed, *(one.content for one in piece.pictures)])
    return body + hashlib.sha256(body).digest()


def unpack_piece(packed: bytes, *, max_frames: int) -> StoredPiece:
    """The inverse, of a piece of at most so many frames; pictures are not decoded.

    Raises:
        ValueError: These bytes are no whole piece.
    """
    body, digest = memoryview(packed)[:-_DIGEST_BYTES], packed[-_DIGEST_BYTES:]
    if len(packed) < _FIXED_BYTES or body[: len(MAGIC)] != MAGIC:
        raise ValueError("no file of stored frames")
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("cut off or damaged: the checksum is another")
    start = len(MAGIC) + 4
    stop = start + struct.unpack_from("<I", body, len(MAGIC))[0]
    if stop > min(len(body), start + _HEADER_BYTES + max_frames * _PER_FRAME_BYTES):
        raise ValueError("the header is longer than it can be")
    try:
        return _read_header(json.loads(bytes(body[start:stop])), body[stop:])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"the header makes no sense ({type(error).__name__}: {error})") from error


def _read_header(header: dict[str, object], content: memoryview) -> StoredPiece:
    frames, lengths, checks, bad = (_numbers(header[name]) for name in ("frames", "lengths", "checks", "bad"))
    height, width = _numbers(header["size"])
    is_ascending = all(one < other for one, other in pairwise(frames))
    if not frames or not is_ascending or not len(frames) == len(lengths) == len(checks):
        raise ValueError("frames and pictures do not match")
    if sum(lengths) != len(content) or max(bad, default=0) >= len(frames) or max(lengths) > most_bytes(height, width):
        raise ValueError("pictures do not fill the file")
    ends = np.cumsum(lengths).tolist()
    marked = frozenset(bad)
    return StoredPiece(
        key=str(header["key"]),
        size=(height, width),
        video=str(header["video"]),
        decoder=str(header["decoder"])[:64],
        frame_indices=np.array(frames, dtype=np.int64),
        pictures=tuple(
            FramePicture(content=content[end - length : end], pixel_check=check, is_bad=at in marked)
            for at, (end, length, check) in enumerate(zip(ends, lengths, checks, strict=True))
        ),
    )


def _numbers(values: object) -> list[int]:
    """Whole numbers that fit 62 bits and are not negative."""
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value < 2**62 for value in values):
        raise ValueError("a list that holds something else than numbers")
    return values
