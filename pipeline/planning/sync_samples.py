"""Which samples of an mp4's video track are keyframes, from its index: a copy without pictures does not show them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


def read_sync_samples(index: bytes) -> npt.NDArray[np.int64] | None:
    """Numbers, from 0 and in stored order, of the keyframes of the first video track; None where every sample is one.

    Args:
        index: the box ``moov`` as a whole. What in it lies about its size is taken for its end.
    """
    for name, track in _boxes(index[8:]):
        media = _inside(track, (b"mdia", b"minf")) if name == b"trak" else None
        if media is None or _inside(media, (b"vmhd",)) is None:
            continue
        table = _inside(media, (b"stbl", b"stss"))
        if table is None or len(table) < 8:
            return None
        num_entries = min(int.from_bytes(table[4:8]), (len(table) - 8) // 4)
        return np.frombuffer(table, ">u4", num_entries, 8).astype(np.int64) - 1
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
