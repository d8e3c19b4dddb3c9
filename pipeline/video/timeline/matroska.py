"""Whether a Matroska file is all there: then a length beyond its last picture says how long that picture stays.

``[Segment [Info Tracks Cluster [time block block] Cluster [time block] Cues]]`` and nothing behind it or in between.
"""

from collections.abc import Iterator

from pipeline.video.video_file import ReadableFile, file_status, open_file

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_IN_SEGMENT = {_CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367, 0x1043A770, 0x1941A469, 0xEC, 0xBF}
_IN_CLUSTER = {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xEC, 0xBF, 0x5854}


class _BrokenError(Exception):
    """An element that is none, of unknown length, or that leaves its parent."""


def is_whole_matroska(path: str, *, last_pos: int) -> bool:
    """Whether elements fill the file to its end, and a picture lies in the last cluster, which is whole as well.

    Args:
        path: of the file.
        last_pos: where the last packet of the video stream lies.
    """
    size = file_status(path).st_size
    with open_file(path) as file:
        try:
            top = list(_walk(file, 0, size, {_EBML, _SEGMENT, 0xEC}))
            inside = [(start, stop) for name, start, stop in top if name == _SEGMENT]
            parts = [part for start, stop in inside for part in _walk(file, start, stop, _IN_SEGMENT)]
            clusters = [(start, stop) for name, start, stop in parts if name == _CLUSTER]
            if not clusters:
                return False
            start, stop = clusters[-1]
            list(_walk(file, start, stop, _IN_CLUSTER))
        except _BrokenError:
            return False
    return last_pos >= start - 16  # a packet's place may be that of its cluster


def _walk(file: ReadableFile, start: int, stop: int, names: set[int]) -> Iterator[tuple[int, int, int]]:
    """(name, start, stop) of each element in a part of the file."""
    while start < stop:
        file.seek(start)
        head = file.read(12)
        name_bytes = _length_of(head, 0, most=4)
        size_bytes = _length_of(head, name_bytes, most=8)
        name = int.from_bytes(head[:name_bytes])
        size = int.from_bytes(head[name_bytes : name_bytes + size_bytes]) & ((1 << 7 * size_bytes) - 1)
        inner = start + name_bytes + size_bytes
        if name not in names or size == (1 << 7 * size_bytes) - 1 or inner + size > stop:
            raise _BrokenError
        yield name, inner, inner + size
        start = inner + size


def _length_of(head: bytes, at: int, *, most: int) -> int:
    """Bytes of a number, by the zeros that it begins with."""
    length = 9 - head[at].bit_length() if at < len(head) else 9
    if length > most or at + length > len(head) or (at < len(head) and head[at] == 0):
        raise _BrokenError
    return length
