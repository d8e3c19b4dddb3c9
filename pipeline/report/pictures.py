"""The pictures of a page: read from several videos at a time, and no more of them than the page may hold."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeAlias

from pipeline.report.cards import Json, frame
from pipeline.report.evidence_frames import EvidencePatch
from pipeline.report.thumbnails import ThumbnailMaker, Thumbnails
from pipeline.settings.sources import ReadingConfig
from pipeline.uris import StorageOptions

Video: TypeAlias = tuple[str, str | None]
"""Address and fingerprint, as in a row."""

NoteProgress: TypeAlias = Callable[[int, int], None]
"""Told how many videos have been looked at, and of how many."""

_NO_ROOM = "left out: the pictures of this page have reached --max-image-mib"


def read_pictures(
    output_uri: str,
    wanted: Mapping[Video, set[float]],
    *,
    num_readers: int,
    reading: ReadingConfig,
    storage_options: StorageOptions = None,
    note_progress: NoteProgress = lambda done, total: None,
) -> dict[Video, Thumbnails]:
    """Pictures of every video at these presentation times, from beside the answers where they have been made before.

    Args:
        output_uri: folder of all results.
        wanted: video -> seconds.
        num_readers: videos that are read at a time, each by a process of its own.
        reading: limits for reading videos.
        storage_options: for ``output_uri`` and videos on ``s3://``.
        note_progress: see `NoteProgress`.
    """
    made: dict[Video, Thumbnails] = {}
    with _makers(num_readers, output_uri, reading, storage_options) as idle, ThreadPoolExecutor(num_readers) as pool:

        def make(video: Video) -> Thumbnails:
            maker = idle.get()
            try:
                return maker.make(*video, wanted[video])
            finally:
                idle.put(maker)

        for video, thumbnails in zip(wanted, pool.map(make, wanted), strict=True):
            made[video] = thumbnails
            note_progress(len(made), len(wanted))
    return made


class PictureBudget:
    """Turns moments into what the page draws, while there is room for their pictures."""

    def __init__(self, max_bytes: int) -> None:
        self._left_bytes = max_bytes

    def frames(self, patches: Sequence[EvidencePatch], thumbnails: Thumbnails | None) -> list[Json]:
        """One per moment, with its picture or the reason why there is none."""
        return [self._frame(patch, thumbnails) for patch in patches]

    def _frame(self, patch: EvidencePatch, thumbnails: Thumbnails | None) -> Json:
        image = thumbnails.images.get(patch.start_s) if thumbnails else None
        if image is None:
            return frame(patch, None, thumbnails.reason if thumbnails else None)
        if len(image) > self._left_bytes:
            return frame(patch, None, _NO_ROOM)
        self._left_bytes -= len(image)
        return frame(patch, f"data:image/webp;base64,{base64.b64encode(image).decode()}", None)


@contextmanager
def _makers(
    number: int, output_uri: str, reading: ReadingConfig, storage_options: StorageOptions
) -> Iterator[SimpleQueue[ThumbnailMaker]]:
    makers = [ThumbnailMaker(output_uri, reading=reading, storage_options=storage_options) for _ in range(number)]
    idle: SimpleQueue[ThumbnailMaker] = SimpleQueue()
    for maker in makers:
        idle.put(maker)
    try:
        yield idle
    finally:
        for maker in makers:
            maker.close()
