"""What a decoding process is asked, and what it answers beside the pixels.

Requests are pickled. Replies are not: they come from a process that an untrusted file may have taken over.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode import Backend
from pipeline.video.frame_store.pictures import Quality
from pipeline.video.probe import VideoProbe
from pipeline.video.probe_codec import pack_probe, unpack_probe


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeRequest:
    """Answered by a ``VideoProbe``, or by the ``PipelineError`` that says why there is none.

    ``is_handed_over``: followed by a descriptor of the file, which need not be opened by its path then.
    """

    path: str
    is_handed_over: bool = False
    max_bad_frames_share: float
    reading: ReadingConfig


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodeRequest:
    """Followed by the file as a ``ProbeRequest`` is, and by a descriptor that receives (n, height, width, 3) bytes.

    Answered by a ``DecodeReply``.
    """

    probe: VideoProbe
    is_handed_over: bool = False
    frame_indices: npt.NDArray[np.int64]
    size: tuple[int, int]
    backend: Backend

    @property
    def path(self) -> str:
        """Of the file."""
        return self.probe.path


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UnpackRequest:
    """Pictures of a frame store; answered as a ``DecodeRequest``, and followed by what is filled.

    They lie one after another behind what is filled, so that they pass through no pipe. ``path`` is the video's, for
    messages; no file is opened.
    """

    path: str
    lengths: tuple[int, ...]
    size: tuple[int, int]
    quality: Quality

    @property
    def is_handed_over(self) -> bool:
        """Never: the pictures lie in the memory that is filled."""
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeReply:
    """What ``DecodedFrames`` says beside the pixels."""

    decoder: str
    num_frames_decoded: int
    bad_frames: tuple[int, ...]


READY = b"ready"  # the process has started; its sandbox's report follows
Request = ProbeRequest | DecodeRequest | UnpackRequest
Reply = VideoProbe | DecodeReply | PipelineError
_PROBE, _DECODED, _FAILED = b"P", b"D", b"F"


def pack_reply(reply: Reply) -> bytes:
    """One byte that tells the kind, then the content."""
    if isinstance(reply, VideoProbe):
        return _PROBE + pack_probe(reply)
    if isinstance(reply, DecodeReply):
        return _DECODED + json.dumps(asdict(reply)).encode()
    return _FAILED + json.dumps([reply.failure_class.value, reply.message]).encode()


def unpack_reply(packed: bytes, *, path: str) -> Reply:
    """The inverse; ``path`` is the video's.

    Raises:
        ValueError: These bytes are no reply.
    """
    kind, content = packed[:1], packed[1:]
    try:
        if kind == _PROBE:
            return unpack_probe(content, path=path)
        values = json.loads(content)
        if kind == _DECODED:
            bad_frames = tuple(int(frame) for frame in values["bad_frames"])
            return DecodeReply(
                decoder=str(values["decoder"]),
                num_frames_decoded=int(values["num_frames_decoded"]),
                bad_frames=bad_frames,
            )
        if kind == _FAILED:
            return PipelineError(FailureClass(values[0]), str(values[1]))
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"a decoding process sent a reply without {error}") from error
    raise ValueError(f"a decoding process sent a reply of the unknown kind {kind!r}")
