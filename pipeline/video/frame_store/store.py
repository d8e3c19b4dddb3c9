"""Frames of videos that were decoded before, kept by video and by everything that changes a pixel.

A store is a help, never a need: whatever is wrong with it, the frames come from the video, and a note says so once.
"""

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.failures import with_store_errors
from pipeline.settings.sources import FrameStoreConfig
from pipeline.uris import StorageOptions, strip_secrets
from pipeline.video.backends.registry import AUTO_ORDER
from pipeline.video.frame_store.pictures import Quality
from pipeline.video.frame_store.piece_file import StoredPiece, most_piece_bytes, pack_piece, unpack_piece
from pipeline.video.frame_store.room import StoreRoom
from pipeline.video.frame_store.storage import SUFFIX, FolderStorage, open_storage
from pipeline.video.probe import VideoProbe
from pipeline.video.versions import digest

IntArray = npt.NDArray[np.int64]
_PACKAGES = {"pyav": "av", "nvdec": "torchcodec"}
_VERSION = 1  # of the files and of how frames are made; another one is never read


@dataclass(frozen=True, kw_only=True, slots=True)
class Shelf:
    """What is kept of one video at one size: ``key`` is its folder, ``num_frames`` those of the video."""

    key: str
    size: tuple[int, int]
    num_frames: int


def shelf_of(probe: VideoProbe, *, fingerprint: str, size: tuple[int, int], backend: str, quality: Quality) -> Shelf:
    """Where the frames of a video lie that come out of this decoder at this size.

    The timeline is part of it, since it says which picture a frame's number means; so are the libraries' versions and
    the kind of processor, which may scale otherwise. Which frames are wanted is not: they are kept by number.
    """
    names = AUTO_ORDER if backend == "auto" else (backend,)
    libraries = {name: _version(_PACKAGES.get(name, name)) for name in (*names, "pyav")}  # PyAV stands in for all
    timeline = hashlib.sha256()
    for array in (probe.pts, probe.keyframe_indices, probe.keyframe_pts, probe.packet_pts, probe.packet_pos):
        timeline.update(np.ascontiguousarray(array).tobytes())
    shown = [str(probe.time_base), probe.rotation, probe.is_mirrored, str(probe.pixel_aspect), probe.codec]
    parts = [_VERSION, names, libraries, platform.machine(), size, quality, shown, timeline.hexdigest()]
    return Shelf(key=f"{fingerprint}-{digest(parts, num_digits=16)}", size=size, num_frames=probe.num_frames)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


class FrameStore:
    """One store, for one thread. Notes are for people: one line each, taken once."""

    def __init__(self, config: FrameStoreConfig, storage_options: StorageOptions = None) -> None:
        assert config.uri is not None, "a run without a store builds none"
        self._storage = open_storage(config.uri, storage_options)
        self._shown = strip_secrets(config.uri)
        self._room = (
            StoreRoom(self._storage, max_bytes=config.max_bytes) if isinstance(self._storage, FolderStorage) else None
        )
        self._listed: dict[str, list[str]] = {}
        self._notes: list[str] = []
        self._is_away = False

    def take_notes(self) -> tuple[str, ...]:
        """What went wrong since the last call."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def find(self, shelf: Shelf, wanted: IntArray) -> Iterator[StoredPiece]:
        """Checked pieces that hold some of the wanted frames, the one that holds exactly them alone if there is one."""
        exact = piece_name(wanted)
        piece = self._read(shelf, exact)
        if piece is not None:
            yield piece
            return
        for name in self._names(shelf):
            first, last, _ = span_of(name)
            if name != exact and _holds_any(wanted, first, last) and (piece := self._read(shelf, name)) is not None:
                yield piece

    def keep(self, shelf: Shelf, piece: StoredPiece) -> None:
        """Write a piece; a full or unreachable storage is no error."""
        content, name = pack_piece(piece), piece_name(piece.frame_indices)
        if self._is_away or len(content) > most_piece_bytes(len(piece.frame_indices), shelf.size):
            return
        try:
            self._storage.write(shelf.key, name, content)
            if self._room is not None:
                self._room.note_written(len(content))
        except with_store_errors(OSError) as error:
            self._give_up(error)

    def discard(self, shelf: Shelf, frame_indices: IntArray, reason: str) -> None:
        """Note and remove a piece that was no good; it is made again."""
        self._discard(shelf, piece_name(frame_indices), reason)

    def _names(self, shelf: Shelf) -> list[str]:
        """As listed when this process first lacked a piece: what others write now, they write of other frames."""
        if shelf.key not in self._listed and not self._is_away:
            try:
                self._listed = {shelf.key: [name for name in self._storage.names(shelf.key) if span_of(name)[2]]}
            except with_store_errors(OSError) as error:
                self._give_up(error)
        return self._listed.get(shelf.key, [])

    def _read(self, shelf: Shelf, name: str) -> StoredPiece | None:
        if self._is_away:
            return None
        num_frames = min(span_of(name)[2], shelf.num_frames)
        try:
            content = self._storage.read(shelf.key, name, max_bytes=most_piece_bytes(num_frames, shelf.size))
            piece = unpack_piece(content, max_frames=num_frames)
            if (piece.key, piece.size, piece_name(piece.frame_indices)) != (shelf.key, shelf.size, name):
                raise ValueError("it holds frames of another video, size or time")
            if piece.frame_indices[-1] >= shelf.num_frames:
                raise ValueError("it holds frames that the video has not")
        except FileNotFoundError:
            return None
        except ValueError as error:
            self._discard(shelf, name, str(error))
            return None
        except with_store_errors(OSError) as error:
            self._give_up(error)
            return None
        return piece

    def _discard(self, shelf: Shelf, name: str, reason: str) -> None:
        self._notes.append(f"frame store: {self._shown}/{shelf.key}/{name} is not used: {reason}; it is made again")
        try:
            self._storage.remove(shelf.key, name)
        except with_store_errors(OSError) as error:
            self._give_up(error)

    def _give_up(self, error: BaseException) -> None:
        """A storage that fails is left alone by this process from now on, so that each stretch need not wait for it."""
        self._is_away = True
        reason = getattr(error, "strerror", None) or type(error).__name__
        self._notes.append(
            f"frame store: {self._shown} cannot be used ({reason}); frames are decoded without it. Free space, check "
            "the rights and the address, or leave out --frame-store"
        )


def piece_name(frame_indices: IntArray) -> str:
    """Tells which frames a file holds: first, last, how many, and a digest of all."""
    numbers = np.ascontiguousarray(frame_indices, dtype="<i8")
    told = hashlib.sha256(numbers.tobytes()).hexdigest()[:16]
    return f"{numbers[0]:09d}-{numbers[-1]:09d}-{len(numbers):07d}-{told}{SUFFIX}"


def span_of(name: str) -> tuple[int, int, int]:
    """First and last frame and number of frames, as the name says; zeros where it says nothing."""
    parts = name.removesuffix(SUFFIX).split("-")
    if len(parts) != 4 or not all(part.isdecimal() and len(part) <= 18 for part in parts[:3]):
        return 0, 0, 0
    return int(parts[0]), int(parts[1]), int(parts[2])


def _holds_any(wanted: IntArray, first: int, last: int) -> bool:
    at = int(np.searchsorted(wanted, first))
    return at < len(wanted) and int(wanted[at]) <= last
