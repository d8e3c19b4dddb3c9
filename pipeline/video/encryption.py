"""Whether a file that cannot be read is encrypted: then no other copy of it helps."""

import os
from pathlib import Path

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container

_LOOKED_AT = 1024**2  # bytes at the start, and as many at the end, where an index may lie
_MARKS = {
    Container.ISO_BMFF: (b"sinf", b"encv", b"drmi", b"pssh"),
    Container.MATROSKA: (b"\x50\x35",),  # ContentEncryption
    Container.ASF: (
        bytes.fromhex("fbb31122 23bd d211 b4b7 00a0c955fc6e"),  # Content Encryption Object
        bytes.fromhex("14e68a29 2226 174c b935 dae07ee9289c"),  # Extended Content Encryption Object
    ),
}
_TS_PACKET, _TS_SYNC, _SCRAMBLED, _HAS_PAYLOAD = 188, 0x47, 0xC0, 0x10


def encrypted_error(path: str) -> PipelineError:
    """What is said of such a file."""
    return PipelineError(
        FailureClass.UNSUPPORTED_MEDIA,
        f"{path} is encrypted; point the manifest at a copy without protection, or decrypt it with its key.",
    )


def looks_encrypted(path: str, container: Container) -> bool:
    """Whether the marks of an encrypted file lie where they would; asked of files that cannot be read."""
    with Path(path).open("rb") as file:
        head = file.read(_LOOKED_AT)
        file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
        tail = file.read(_LOOKED_AT)
    if container is Container.MPEG_TS:
        return _share_scrambled(head) > 0.5
    return any(mark in part for mark in _MARKS.get(container, ()) for part in (head, tail))


def _share_scrambled(data: bytes) -> float:
    heads = [data[at : at + 4] for at in range(data.find(_TS_SYNC), len(data) - 4, _TS_PACKET)]
    loaded = [head for head in heads if head[0] == _TS_SYNC and head[3] & _HAS_PAYLOAD and head[1] & 31 | head[2]]
    return sum(bool(head[3] & _SCRAMBLED) for head in loaded) / max(1, len(loaded))
