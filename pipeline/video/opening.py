"""Opens a video for reading: one demuxer, local files only, the stream that is the film."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container


@contextmanager
def open_video(path: str, container: Container) -> Iterator[tuple[Any, Any]]:
    """Open (container, best video stream), single-threaded, with this one demuxer and local files only."""
    import av

    with av.open(
        path, format=container.value, options={"protocol_whitelist": "file"}, metadata_errors="ignore"
    ) as opened:
        stream = opened.streams.best("video")
        if stream is None or stream.codec_context is None:
            found = "no video stream" if stream is None else "a video stream of an unknown codec"
            raise PipelineError(
                FailureClass.UNSUPPORTED_MEDIA, f"{path} has {found}; re-encode it, for example to H.264 in mp4."
            )
        stream.codec_context.thread_count = 1
        yield opened, stream
