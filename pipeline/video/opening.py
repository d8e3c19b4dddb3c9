"""Opens a video for reading: one demuxer, local files only, the stream that is the film."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.containers import Container
from pipeline.video.video_file import is_handed_over, open_file

_PICTURES = ("mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000")  # where a container does not count its frames


@contextmanager
def open_video(path: str, container: Container) -> Iterator[tuple[Any, Any]]:
    """Open (container, the film among its video streams), single-threaded, with this one demuxer and this file only.

    Raises:
        PipelineError: ``UNSUPPORTED_MEDIA`` where there is none.
    """
    import av

    with ExitStack() as files:
        source = files.enter_context(open_file(path)) if is_handed_over(path) else path
        options = {"protocol_whitelist": "file" if source is path else "none"}
        opened = files.enter_context(av.open(source, format=container.value, options=options, **_lenient_text()))
        stream = _choose_film(opened)
        if stream is None or stream.codec_context is None:
            found = "no video stream" if stream is None else "a video stream of an unknown codec"
            raise PipelineError(
                FailureClass.UNSUPPORTED_MEDIA, f"{path} has {found}; re-encode it, for example to H.264 in mp4."
            )
        stream.codec_context.thread_count = 1
        yield opened, stream


@cache
def _lenient_text() -> dict[str, str]:
    """Metadata that are no UTF-8 end no reading: PyAV was told so until 19, which asks no more."""
    import av

    return {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}


def _choose_film(opened: Any) -> Any:
    """FFmpeg's choice, unless it is a single picture beside something that moves: then the longest and largest."""
    best = opened.streams.best("video")
    if best is None or best.codec_context is None or not _is_picture(best):
        return best
    films = [stream for stream in opened.streams.video if stream.codec_context is not None and not _is_picture(stream)]
    return max(
        films, key=lambda film: (film.frames, film.codec_context.width * film.codec_context.height), default=best
    )


def _is_picture(stream: Any) -> bool:
    from av.stream import Disposition

    if stream.frames > 0:
        return bool(stream.frames == 1)
    return bool(stream.disposition & Disposition.attached_pic) or stream.codec_context.name in _PICTURES
