"""What lies in a frame store: for people who look after one. Nothing here decodes a picture."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pipeline.failures import with_store_errors
from pipeline.video.frame_store.piece_file import unpack_piece
from pipeline.video.frame_store.storage import PieceStorage, StoredFile
from pipeline.video.frame_store.store import piece_name, span_of

MAX_FILE_BYTES = 4 * 1024**3  # a stretch of frames takes some hundred megabytes at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One video at one size.

    Attributes:
        last_use_s: since the epoch; in an object store of the last writing.
        video: as a file of it says; empty where none can be read.
    """

    key: str
    num_files: int
    num_frames: int
    size_bytes: int
    last_use_s: float
    video: str = ""
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """A file that no run would use, and why."""

    file: StoredFile
    reason: str


def list_entries(storage: PieceStorage) -> Iterator[Entry]:
    """One per video and size, in order of their keys; one file of each is opened for its address."""
    files: list[StoredFile] = []
    for file in storage.walk():
        if files and files[0].key != file.key:
            yield _describe(storage, files)
            files = []
        files.append(file)
    if files:
        yield _describe(storage, files)


def find_wrong(storage: PieceStorage) -> Iterator[Wrong | StoredFile]:
    """Every file: itself where its checksum and place are right, else why it is wrong."""
    for file in storage.walk():
        try:
            _check(storage, file)
        except FileNotFoundError:  # removed meanwhile
            continue
        except ValueError as error:
            yield Wrong(file=file, reason=str(error))
            continue
        yield file


def remove_entries(storage: PieceStorage, keys: Collection[str] | None) -> tuple[int, int]:
    """Remove all files of some entries, by key or by the fingerprint it begins with; None: of all.

    Returns:
        Files and bytes that went.
    """
    num_files = size_bytes = 0
    for file in list(storage.walk()):
        if keys is None or file.key in keys or file.key.rpartition("-")[0] in keys:
            storage.remove(file.key, file.name)
            num_files, size_bytes = num_files + 1, size_bytes + file.size_bytes
    return num_files, size_bytes


def _describe(storage: PieceStorage, files: list[StoredFile]) -> Entry:
    video, size = "", (0, 0)
    try:
        piece = unpack_piece(
            storage.read(files[0].key, files[0].name, max_bytes=MAX_FILE_BYTES),
            max_frames=span_of(files[0].name)[2],
        )
        video, size = piece.video, piece.size
    except with_store_errors(OSError, ValueError):  # ``verify`` says why
        pass
    return Entry(
        key=files[0].key,
        num_files=len(files),
        num_frames=sum(span_of(file.name)[2] for file in files),
        size_bytes=sum(file.size_bytes for file in files),
        last_use_s=max(file.last_use_s for file in files),
        video=video,
        size=size,
    )


def _check(storage: PieceStorage, file: StoredFile) -> None:
    content = storage.read(file.key, file.name, max_bytes=MAX_FILE_BYTES)
    piece = unpack_piece(content, max_frames=span_of(file.name)[2])
    if (piece.key, piece_name(piece.frame_indices)) != (file.key, file.name):
        raise ValueError("it holds frames of another video, size or time")
