"""Settings of where videos and their frames come from. None changes an answer, but for a store that loses a little."""

from dataclasses import dataclass
from typing import Literal

from pipeline.settings.checks import check


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingConfig:
    """How videos are fetched and read, and what is refused. Raising a limit never changes an answer that exists.

    Attributes:
        decode_timeout_s: wall seconds for one probe or one stretch of frames, then the decoding process is killed.
        decode_memory_bytes: private memory of a decoding process, beyond which it is killed.
        allow_http: whether ``http(s)://`` addresses may be fetched; never from private networks.
        cache_dir: node-local folder for copies of remote videos; None is one in the system's temporary folder.
        cache_bytes: size to which that folder is trimmed; videos in use are never removed.
        sandbox: of the process that reads videos: ``auto`` takes the layers that the kernel allows, ``require`` refuses
            to read without enough of them, ``off`` takes none.
        outage_s: how long a storage that fails for one video after another is waited for, before the job ends with
            those videos as they were; 0: each such video fails on its own.
    """

    max_file_bytes: int = 256 * 1024**3
    max_duration_s: float = 48 * 3600.0
    max_video_frames: int = 20_000_000
    max_frame_pixels: int = 8_192 * 8_192
    decode_timeout_s: float = 1_800.0
    decode_memory_bytes: int = 4 * 1024**3
    allow_http: bool = False
    cache_dir: str | None = None
    cache_bytes: int = 64 * 1024**3
    sandbox: Literal["require", "auto", "off"] = "auto"
    outage_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("max_file_bytes", "max_video_frames", "max_frame_pixels", "decode_memory_bytes", "cache_bytes"):
            check(getattr(self, name) >= 1, f"reading.{name}", getattr(self, name), "at least 1")
        for name in ("max_duration_s", "decode_timeout_s"):
            check(getattr(self, name) > 0, f"reading.{name}", getattr(self, name), "positive")
        allowed = ("require", "auto", "off")
        check(self.sandbox in allowed, "reading.sandbox", self.sandbox, "'require', 'auto' or 'off'")
        check(self.outage_s >= 0, "reading.outage_s", self.outage_s, "at least 0 s")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameStoreConfig:
    """Where decoded frames are kept for the next question about their video. Only ``quality`` can change an answer.

    Attributes:
        uri: a folder or ``s3://bucket/prefix``; None keeps none.
        quality: ``lossless`` gives the rows of a run without a store; ``high`` takes much less room and loses a little.
        max_bytes: size to which a folder is trimmed, least recently used first; an object store has its own rules.
    """

    uri: str | None = None
    quality: Literal["lossless", "high"] = "lossless"
    max_bytes: int = 256 * 1024**3

    def __post_init__(self) -> None:
        scheme = (self.uri or "").partition("://")[0].lower() if "://" in (self.uri or "") else ""
        is_writable = self.uri != "" and scheme not in ("http", "https")
        check(is_writable, "frame_store.uri", self.uri, "a folder or s3://bucket/prefix")
        qualities = ("lossless", "high")
        check(self.quality in qualities, "frame_store.quality", self.quality, "'lossless' or 'high'")
        is_used = self.quality == "lossless" or self.uri is not None
        check(is_used, "frame_store.quality", self.quality, "'lossless' without frame_store.uri (--frame-store)")
        check(self.max_bytes >= 1, "frame_store.max_bytes", self.max_bytes, "at least 1")
