"""Whether a file that cannot be read is encrypted: then no other copy of it helps."""

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import HEAD_BYTES, Container, find_mpeg_ts
from pipeline.video.video_file import file_status, open_file

_LOOKED_AT = 1024**2  # bytes at the start, and as many at the end, where an index may lie
_MARKS = {
    Container.ISO_BMFF: (b"encv", b"drmi"),  # sample entries in place of the codec's
    Container.ASF: (
        bytes.fromhex("fbb31122 23bd d211 b4b7 00a0c955fc6e"),  # Content Encryption Object
        bytes.fromhex("14e68a29 2226 174c b935 dae07ee9289c"),  # Extended Content Encryption Object
    ),
}
_MATROSKA_MARKS = (b"\x6d\x80", b"\x62\x40", b"\x50\x35")  # encodings of the content, one of them, its encryption
_MATROSKA_CLUSTER = b"\x1f\x43\xb6\x75"
_TS_PACKET, _TS_SYNC, _SCRAMBLED, _HAS_PAYLOAD = 188, 0x47, 0xC0, 0x10


def encrypted_error(path: str) -> PipelineError:
    """What is said of such a file."""
    return PipelineError(
        FailureClass.UNSUPPORTED_MEDIA,
        f"{path} is encrypted; point the manifest at a copy without protection, or decrypt it with its key.",
    )


def looks_encrypted(path: str, container: Container) -> bool:
    """Whether the marks of an encrypted file lie where they would; asked of files that cannot be read."""
    with open_file(path) as file:
        head = file.read(_LOOKED_AT)
        file.seek(max(0, file_status(path).st_size - _LOOKED_AT))
        tail = file.read(_LOOKED_AT)
    if container is Container.MPEG_TS:
        return _is_scrambled(head)
    if container is Container.MATROSKA:
        before_pictures = head.partition(_MATROSKA_CLUSTER)[0]
        return all(mark in before_pictures for mark in _MATROSKA_MARKS)
    return any(mark in part for mark in _MARKS.get(container, ()) for part in (head, tail))


def _is_scrambled(data: bytes) -> bool:
    """Whether most packets that carry something, of those that are packets, say that it is scrambled."""
    first = find_mpeg_ts(data[:HEAD_BYTES]) or 0
    heads = [data[at : at + 4] for at in range(first, len(data) - 4, _TS_PACKET)]
    sound = [head for head in heads if head[0] == _TS_SYNC]
    loaded = [head for head in sound if head[3] & _HAS_PAYLOAD and (head[1] & 31 or head[2])]
    num_scrambled = sum(bool(head[3] & _SCRAMBLED) for head in loaded)
    return len(sound) > len(heads) / 2 and num_scrambled > len(loaded) / 2
