"""Frames of a stretch from the store where it has them, from the video where it has not; and back into the store.

Files are read and written here, in the worker. Pictures of a store are decoded where videos are: in the child process.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import FrameStoreConfig
from pipeline.uris import StorageOptions
from pipeline.video.decode import Backend, DecodedFrames
from pipeline.video.decode_child import ReaderLostError
from pipeline.video.decode_plan import STRETCH_BYTES
from pipeline.video.frame_store.pictures import MAX_SIDE, check_pixels, pack_picture, unpack_pictures
from pipeline.video.frame_store.piece_file import FramePicture, StoredPiece
from pipeline.video.frame_store.store import FrameStore, Shelf, shelf_of
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import VideoProbe

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """Some wanted frames, ``rows`` (n,) of the stretch, and whether each is bad."""

    rows: IntArray
    frames: npt.NDArray[np.uint8]
    is_bad: npt.NDArray[np.bool_]
    decoder: str
    num_decoded: int = 0


class FrameReader:
    """Decodes stretches with a store beside it, or without one. For one thread."""

    def __init__(
        self, reader: IsolatedReader, config: FrameStoreConfig, storage_options: StorageOptions = None
    ) -> None:
        self._reader, self._quality = reader, config.quality
        self._store = None if config.uri is None else FrameStore(config, storage_options)
        self._latest: tuple[IntArray, tuple[object, ...], Shelf] | None = None

    def take_notes(self) -> tuple[str, ...]:
        """What went wrong with the store since the last call; no row is changed by it."""
        return () if self._store is None else self._store.take_notes()

    def decode(
        self,
        probe: VideoProbe,
        wanted: IntArray,
        *,
        size: tuple[int, int] | None,
        backend: Backend,
        fingerprint: str,
        uri: str,
    ) -> DecodedFrames:
        """As ``IsolatedReader.decode``; frames that were stored count as read by who read them, none as decoded.

        Args:
            probe: the video's timeline.
            wanted: (n,) ascending unique frame indices.
            size: (height, width) as displayed; None keeps the video's own.
            backend: as there.
            fingerprint: of the video's version.
            uri: of the video, without secrets: for people.
        """
        size = size or (probe.height, probe.width)
        if self._store is None or max(size) > MAX_SIDE:
            return self._reader.decode(probe, wanted, size=size, backend=backend)
        shelf = self._shelf(probe, fingerprint, size, backend)
        parts = self._take_stored(self._store, shelf, wanted, probe.path)
        held = np.concatenate([part.rows for part in parts]) if parts else np.zeros(0, dtype=np.int64)
        missing = np.setdiff1d(np.arange(len(wanted)), held)
        if len(missing):
            parts.append(self._decode(self._store, shelf, probe, wanted, missing, backend, uri))
        return replace(_join(parts, len(wanted), size), sandbox=self._reader.sandbox)

    def _shelf(self, probe: VideoProbe, fingerprint: str, size: tuple[int, int], backend: Backend) -> Shelf:
        """Of one video at a time; its timeline may be long, and is hashed once."""
        told = (fingerprint, size, backend)
        if self._latest is None or self._latest[0] is not probe.pts or self._latest[1] != told:
            shelf = shelf_of(probe, fingerprint=fingerprint, size=size, backend=backend, quality=self._quality)
            self._latest = probe.pts, told, shelf
        return self._latest[2]

    def _take_stored(self, store: FrameStore, shelf: Shelf, wanted: IntArray, path: str) -> list[_Taken]:
        parts: list[_Taken] = []
        is_held = np.zeros(len(wanted), dtype=bool)
        for piece in store.find(shelf, wanted):
            is_new = np.isin(piece.frame_indices, wanted[~is_held])
            if not is_new.any():
                continue
            try:
                part = self._open(piece, np.flatnonzero(is_new), wanted, path)
            except ValueError as error:
                store.discard(shelf, piece.frame_indices, str(error))
                continue
            is_held[part.rows] = True
            parts.append(part)
            if is_held.all():
                break
        return parts

    def _open(self, piece: StoredPiece, positions: IntArray, wanted: IntArray, path: str) -> _Taken:
        """Decode some of a piece's pictures.

        Raises:
            ValueError: They are not what was stored.
            PipelineError: The decoding process was killed from outside.
        """
        pictures = [piece.pictures[at] for at in positions.tolist()]
        contents = [picture.content for picture in pictures]
        try:
            frames = self._reader.unpack(contents, size=piece.size, quality=self._quality, path=path)
        except ReaderLostError as lost:
            if lost.failure.failure_class is FailureClass.OUT_OF_MEMORY:
                raise lost.failure from lost
            raise ValueError("its pictures are more than a decoder survives") from lost
        except PipelineError as error:
            if error.failure_class is not FailureClass.CORRUPT_MEDIA:
                raise
            raise ValueError(error.message) from error
        if any(check_pixels(frame) != one.pixel_check for frame, one in zip(frames, pictures, strict=True)):
            raise ValueError("its pictures show something else than what was stored")
        return _Taken(
            rows=np.searchsorted(wanted, piece.frame_indices[positions]),
            frames=frames,
            is_bad=np.array([picture.is_bad for picture in pictures]),
            decoder=piece.decoder,
        )

    def _decode(
        self,
        store: FrameStore,
        shelf: Shelf,
        probe: VideoProbe,
        wanted: IntArray,
        rows: IntArray,
        backend: Backend,
        uri: str,
    ) -> _Taken:
        """Read from the video, and store; what would be lost in the store is lost at once, or a second run differed."""
        decoded = self._reader.decode(probe, wanted[rows], size=shelf.size, backend=backend)
        is_bad = np.isin(np.arange(len(rows)), decoded.bad_frames)
        frames = decoded.frames if self._quality == "lossless" else np.empty_like(decoded.frames)
        most = max(1, STRETCH_BYTES // decoded.frames[0].nbytes)
        for chunk in (slice(start, start + most) for start in range(0, len(rows), most)):
            contents = [pack_picture(frame, self._quality) for frame in decoded.frames[chunk]]
            if self._quality != "lossless":
                unpack_pictures(
                    b"".join(contents), [len(content) for content in contents], frames[chunk], self._quality
                )
            piece = StoredPiece(
                key=shelf.key,
                size=shelf.size,
                video=uri,
                decoder=decoded.decoder,
                frame_indices=wanted[rows[chunk]],
                pictures=tuple(
                    FramePicture(content=content, pixel_check=check_pixels(frame), is_bad=bool(bad))
                    for content, frame, bad in zip(contents, frames[chunk], is_bad[chunk], strict=True)
                ),
            )
            store.keep(shelf, piece)
        return _Taken(rows, frames, is_bad, decoded.decoder, decoded.num_frames_decoded)


def _join(parts: list[_Taken], num_wanted: int, size: tuple[int, int]) -> DecodedFrames:
    """Parts in the order of the stretch."""
    is_bad = np.zeros(num_wanted, dtype=bool)
    frames = parts[0].frames
    if len(parts) > 1:
        frames = np.empty((num_wanted, *size, 3), dtype=np.uint8)
        for part in parts:
            frames[part.rows] = part.frames
    for part in parts:
        is_bad[part.rows] = part.is_bad
    return DecodedFrames(
        frames=frames,
        decoder="+".join(sorted({name for part in parts for name in part.decoder.split("+")})),
        num_frames_decoded=sum(part.num_decoded for part in parts),
        bad_frames=tuple(np.flatnonzero(is_bad).tolist()),
    )
