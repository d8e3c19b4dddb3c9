"""Copies of videos that hold only what a demuxer needs to list the frames: a few range reads, however large they are.

An mp4 or mov keeps its index in one box, ``moov``; all other bytes of the copy are a hole that takes no space. Other
containers have no such place.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError, with_store_errors
from pipeline.planning.sync_samples import read_sync_samples, read_video_bytes
from pipeline.stores import is_in_store, open_store
from pipeline.uris import StorageOptions, strip_secrets
from pipeline.video.containers import Container, identify_container
from pipeline.video.sources import check_file, is_local, local_path
from pipeline.video.store_source import StoredVideo

HEAD_BYTES = 1024**2  # the first picture lies here, or right behind an index that stands first
MAX_INDEX_BYTES = 256 * 1024**2
_BOX_BYTES = 16  # size, name and a long size
_MAX_BOXES = 64

ReadRange = Callable[[int, int], bytes]
"""``(start, length)`` -> bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """A file to probe.

    Attributes:
        bytes_read: of the video.
        is_whole: whether nothing is missing in it.
        keyframes: numbers of frames, where the copy lacks the pictures that would say so; None where all are, or
            where it does say so.
    """

    path: str
    bytes_read: int
    is_whole: bool
    keyframes: npt.NDArray[np.int64] | None = None


def fetch_header(uri: str, path: Path, *, storage_options: StorageOptions = None) -> Header:
    """Copy a video's first bytes and its index to ``path``; a local file in another container stays where it is.

    Raises:
        PipelineError: ``NOT_FOUND``, ``ACCESS_DENIED``, ``TRANSFER``; ``UNSUPPORTED_MEDIA`` where only the whole file
            would tell, and for what is no video.
    """
    if is_local(uri):
        return _fetch_local(local_path(uri), path)
    if not is_in_store(uri):
        raise _whole_file_needed(uri)
    video = StoredVideo(uri=uri, storage_options=storage_options or {})
    size_bytes = video.look_up().size_bytes or 0
    return _copy_index(uri, path, size_bytes=size_bytes, read=_store_reader(uri, storage_options))


def coded_video_bytes(path: Path) -> int:
    """Of a file's pictures, without its sound, where an index says so; else of the file."""
    size_bytes = path.stat().st_size

    def read(start: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    if identify_container(str(path)) is not Container.ISO_BMFF:
        return size_bytes
    try:
        start, length, _ = _find_index(str(path), read(0, HEAD_BYTES), size_bytes=size_bytes, read=read)
    except PipelineError:  # fragments: each has an index of its own
        return size_bytes
    return min(size_bytes, read_video_bytes(read(start, length)) or size_bytes)


def _fetch_local(source: str, path: Path) -> Header:
    check_file(source)
    size_bytes = os.stat(source).st_size
    if size_bytes <= MAX_INDEX_BYTES or identify_container(source) is not Container.ISO_BMFF:
        return Header(path=source, bytes_read=size_bytes, is_whole=True)

    def read(start: int, length: int) -> bytes:
        with Path(source).open("rb") as file:
            file.seek(start)
            return file.read(length)

    return _copy_index(source, path, size_bytes=size_bytes, read=read)


def _store_reader(uri: str, storage_options: StorageOptions) -> ReadRange:
    filesystem: Any = open_store(uri, storage_options)

    def read(start: int, length: int) -> bytes:
        try:
            content: bytes = filesystem.cat_file(uri, start=start, end=start + length)
        except with_store_errors(OSError) as error:
            message = f"{strip_secrets(uri)} could not be read ({type(error).__name__}); check network and endpoint"
            raise PipelineError(FailureClass.TRANSFER, message) from error
        return content

    return read


def _copy_index(uri: str, path: Path, *, size_bytes: int, read: ReadRange) -> Header:
    head = read(0, min(HEAD_BYTES, size_bytes))
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size_bytes)
    if len(head) == size_bytes:
        return Header(path=str(path), bytes_read=size_bytes, is_whole=True)
    if identify_container(str(path)) is not Container.ISO_BMFF:
        raise _whole_file_needed(uri)
    start, length, num_boxes = _find_index(uri, head, size_bytes=size_bytes, read=read)
    bytes_read, index = len(head) + num_boxes * _BOX_BYTES, head[start : start + length]
    if start + length > len(head):
        index = read(start, min(length + HEAD_BYTES, size_bytes - start))  # the first picture may follow
        bytes_read += len(index)
        with path.open("r+b") as file:
            file.seek(start)
            file.write(index)
    if b"mvex" in index[:length]:  # fragments all over the file have each its own index
        raise _whole_file_needed(uri)
    keyframes = read_sync_samples(index[:length])
    return Header(path=str(path), bytes_read=bytes_read, is_whole=False, keyframes=keyframes)


def _find_index(uri: str, head: bytes, *, size_bytes: int, read: ReadRange) -> tuple[int, int, int]:
    """Start and length of ``moov``, and how many boxes beyond ``head`` were looked at on the way."""
    at = num_far = 0
    for _ in range(_MAX_BOXES):
        is_far = at + _BOX_BYTES > len(head)
        if at + 8 > size_bytes:
            break
        box = read(at, min(_BOX_BYTES, size_bytes - at)) if is_far else head[at : at + _BOX_BYTES]
        num_far += is_far
        length = int.from_bytes(box[:4])
        if length == 1:
            length = int.from_bytes(box[8:16])
        length = length or size_bytes - at
        if box[4:8] == b"moov" and 8 <= length <= MAX_INDEX_BYTES:
            return at, min(length, size_bytes - at), num_far
        if length < 8:
            break
        at += length
    raise _whole_file_needed(uri)


def _whole_file_needed(uri: str) -> PipelineError:
    message = f"{strip_secrets(uri)} has no index that can be read alone; its figures are estimated"
    return PipelineError(FailureClass.UNSUPPORTED_MEDIA, message)
