"""What an mp4's index says of its video track: which samples are keyframes, and how many bytes all of them take."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


def read_sync_samples(index: bytes) -> npt.NDArray[np.int64] | None:
    """Numbers, from 0 and in stored order, of the keyframes of the first video track; None where every sample is one.

    Args:
        index: the box ``moov`` as a whole. What in it lies about its size is taken for its end.
    """
    media = _video_media(index)
    table = None if media is None else _inside(media, (b"stbl", b"stss"))
    if table is None or len(table) < 8:
        return None
    num_entries = min(int.from_bytes(table[4:8]), (len(table) - 8) // 4)
    return np.frombuffer(table, ">u4", num_entries, 8).astype(np.int64) - 1


def read_video_bytes(index: bytes) -> int | None:
    """Of all samples of the first video track; None where the index does not say so.

    Args:
        index: as of ``read_sync_samples``.
    """
    media = _video_media(index)
    table = None if media is None else _inside(media, (b"stbl", b"stsz"))
    if table is None or len(table) < 12:
        return None
    size_bytes, num_samples = int.from_bytes(table[4:8]), int.from_bytes(table[8:12])
    if size_bytes:
        return size_bytes * num_samples
    return int(np.frombuffer(table, ">u4", min(num_samples, (len(table) - 12) // 4), 12).sum(dtype=np.int64)) or None


def _video_media(index: bytes) -> bytes | None:
    """The box ``minf`` of the first video track."""
    for name, track in _boxes(index[8:]):
        media = _inside(track, (b"mdia", b"minf")) if name == b"trak" else None
        if media is not None and _inside(media, (b"vmhd",)) is not None:
            return media
    return None


def _inside(box: bytes, path: tuple[bytes, ...]) -> bytes | None:
    """What the first box of each name along a path holds."""
    for wanted in path:
        found = next((content for name, content in _boxes(box) if name == wanted), None)
        if found is None:
            return None
        box = found
    return box


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of boxes, one after another."""
    at = 0
    while at + 8 <= len(content):
        length, start = int.from_bytes(content[at : at + 4]), at + 8
        if length == 1:
            length, start = int.from_bytes(content[at + 8 : at + 16]), at + 16
        stop = at + length if length else len(content)
        if stop < start:
            return
        yield content[at + 4 : at + 8], content[start:stop]
        at = stop
