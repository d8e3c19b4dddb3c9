"""Small pictures of a video's evidence, decoded on the CPU in a process apart, and kept beside the answers.

A second report needs no video. A picture that cannot be had is a reason instead.
"""

import io
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.failures import FailureClass, PipelineError
from pipeline.results.atomic_files import change_file
from pipeline.results.keys import video_fingerprint
from pipeline.settings.sources import ReadingConfig
from pipeline.uris import StorageOptions, redact_text
from pipeline.video.isolated import IsolatedReader
from pipeline.video.sources import local_video

WIDTH = 256
"""Pixels; the height follows the picture."""

_MAX_HEIGHT = 512
_QUALITY = 70
_SCHEMA = pa.schema([("start_s", pa.float64()), ("image", pa.binary())])


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumbnails:
    """Pictures of one video: start of the temporal patch -> WebP bytes; ``reason`` says why others are missing."""

    images: Mapping[float, bytes]
    reason: str | None = None


class ThumbnailMaker:
    """For one thread. ``close`` ends the decoding process."""

    def __init__(self, output_uri: str, *, reading: ReadingConfig, storage_options: StorageOptions = None) -> None:
        self._reading, self._storage_options = reading, storage_options
        self._filesystem, root = fsspec.core.url_to_fs(output_uri, **(storage_options or {}))
        self._folder = f"{root.rstrip('/')}/report/thumbnails"
        self._reader = IsolatedReader(reading, max_bad_frames_share=1.0)

    def make(self, uri: str, fingerprint: str | None, starts_s: Iterable[float]) -> Thumbnails:
        """Pictures at these times; of the video as it was answered, or none.

        Args:
            uri: as in the row.
            fingerprint: as in the row; a video that has another one by now is not shown.
            starts_s: presentation times.
        """
        wanted = set(starts_s)
        if fingerprint is None or not wanted:
            return Thumbnails(images={}, reason="the video could not be identified when it was answered")
        path = f"{self._folder}/{fingerprint}-{WIDTH}.parquet"
        known = self._read_known(path)
        missing = sorted(wanted - set(known))
        if not missing:
            return Thumbnails(images=known)
        try:
            made = self._decode(uri, fingerprint, np.array(missing))
        except PipelineError as error:
            return Thumbnails(images=known, reason=redact_text(error.message))
        with suppress(OSError):  # a folder that may only be read: the next report decodes again
            change_file(self._filesystem, path, lambda old: _pack(_unpack(old) | made))
        return Thumbnails(images=known | made)

    def close(self) -> None:
        """End the decoding process."""
        self._reader.close()

    def _read_known(self, path: str) -> dict[float, bytes]:
        try:
            return _unpack(self._filesystem.cat_file(path))
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def _decode(self, uri: str, fingerprint: str, starts_s: npt.NDArray[np.float64]) -> dict[float, bytes]:
        options, allow_http = self._storage_options, self._reading.allow_http
        now = video_fingerprint(uri, storage_options=options, allow_http=allow_http)
        if now != fingerprint.partition("-")[0]:  # behind it: which of several addresses of one object
            raise PipelineError(FailureClass.NOT_FOUND, f"{uri} was changed since it was answered")
        with local_video(uri, reading=self._reading, storage_options=options) as path:
            probe = self._reader.probe(path)
            height = min(_MAX_HEIGHT, max(2, round(WIDTH * probe.height / probe.width)))
            frames = np.searchsorted(probe.pts_s, starts_s + 1e-6, side="right") - 1
            indices, rows = np.unique(np.maximum(frames, 0), return_inverse=True)
            decoded = self._reader.decode(probe, indices.astype(np.int64), size=(height, WIDTH))
        images = [encode_image(frame) for frame in decoded.frames]
        return {start_s: images[row] for start_s, row in zip(starts_s.tolist(), rows.tolist(), strict=True)}


def encode_image(frame_HW3: npt.NDArray[np.uint8]) -> bytes:
    """``(H, W, 3)`` RGB -> WebP."""
    buffer = io.BytesIO()
    Image.fromarray(frame_HW3).save(buffer, "WEBP", quality=_QUALITY)
    return buffer.getvalue()


def _pack(images: Mapping[float, bytes]) -> bytes:
    buffer = io.BytesIO()
    ordered = sorted(images.items())
    columns = {"start_s": [start_s for start_s, _ in ordered], "image": [image for _, image in ordered]}
    pq.write_table(pa.table(columns, schema=_SCHEMA), buffer, compression="none")
    return buffer.getvalue()


def _unpack(content: bytes | None) -> dict[float, bytes]:
    """A file that is no longer readable is made again."""
    if content is None:
        return {}
    try:
        table = pq.read_table(pa.BufferReader(content), schema=_SCHEMA)
    except (pa.ArrowException, OSError):
        return {}
    return dict(zip(table.column("start_s").to_pylist(), table.column("image").to_pylist(), strict=True))
