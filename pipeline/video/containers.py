"""Which container a file is, judged by its first bytes, before FFmpeg sees it. Names and suffixes prove nothing."""

from enum import StrEnum

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.video_file import open_file

HEAD_BYTES = 4096
_TS_PACKET_BYTES = (188, 192, 204)  # plain, with time code (m2ts), with error correction
_TS_SYNC = 0x47
_ISO_BMFF_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx")
_ASF_GUID = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_REDIRECTS = (
    (b"#extm3u", "an HLS playlist"),
    (b"ffconcat", "an FFmpeg concat script"),
    (b"<mpd", "a DASH manifest"),
    (b"<smoothstreamingmedia", "a Smooth Streaming manifest"),
    (b"<smil", "a SMIL playlist"),
    (b"[playlist]", "a PLS playlist"),
    (b"rtsptext", "an RTSP redirect"),
    (b"v=0", "an SDP description"),
)
_OTHER_FORMATS = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture, or several without a container"),
    (b"GIF8", "a GIF picture"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"%PDF", "a PDF document"),
    (b"ID3", "an MP3 file"),
    (b"YUV4MPEG2", "a bare stream without a container"),
    (b"\x00\x00\x00\x01", "a bare stream without a container"),
    (b"\x00\x00\x01", "a bare stream without a container"),
)


class Container(StrEnum):
    """Recognised containers; the value is the name of FFmpeg's demuxer, so that no other one can be picked."""

    ISO_BMFF = "mov"
    MATROSKA = "matroska"
    AVI = "avi"
    MPEG_TS = "mpegts"
    MPEG_PS = "mpeg"
    FLV = "flv"
    OGG = "ogg"
    ASF = "asf"


def identify_container(path: str) -> Container:
    """Recognise the container of a local file.

    Raises:
        PipelineError: ``UNSUPPORTED_MEDIA`` for anything else; playlists and scripts, which could make FFmpeg open
            other files or hosts, are refused by name.
    """
    head = read_head(path)
    container = _match_container(head)
    if container is not None:
        return container
    raise PipelineError(
        FailureClass.UNSUPPORTED_MEDIA,
        f"{path} is {_describe(head)}, not a video file; allowed containers: mp4/mov, mkv/webm, avi, MPEG-TS, MPEG-PS, "
        "flv, ogg, asf. Point the manifest at the video itself, or re-mux it to mp4.",
    )


def read_head(path: str) -> bytes:
    """The first bytes of a local file."""
    with open_file(path) as file:
        return file.read(HEAD_BYTES)


def _match_container(head: bytes) -> Container | None:
    if head[4:8] in _ISO_BMFF_BOXES:
        return Container.ISO_BMFF
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return Container.AVI
    prefixes = {
        b"\x1aE\xdf\xa3": Container.MATROSKA,
        b"\x00\x00\x01\xba": Container.MPEG_PS,
        b"FLV\x01": Container.FLV,
        b"OggS": Container.OGG,
        _ASF_GUID: Container.ASF,
    }
    for prefix, container in prefixes.items():
        if head.startswith(prefix):
            return container
    return Container.MPEG_TS if find_mpeg_ts(head) is not None else None


def find_mpeg_ts(head: bytes) -> int | None:
    """Where the first whole packet of an MPEG-TS begins: sync bytes in a row, one packet apart; None if it is none.

    Three are enough at the start, where a time code of 4 bytes may come first; behind a broken packet ten are.
    """
    for size in _TS_PACKET_BYTES:
        for offset in (0, 4):
            marks = head[offset::size][:5]
            if len(marks) >= 3 and set(marks) == {_TS_SYNC}:
                return 0
    for size in _TS_PACKET_BYTES:
        for offset in range(1, size):
            marks = head[offset::size][:10]
            if len(marks) == 10 and set(marks) == {_TS_SYNC}:
                return offset
    return None


def _describe(head: bytes) -> str:
    """What a refused file is, in words: its bytes are not shown, for they may be nobody's business."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, name in _REDIRECTS:
        if text.startswith(mark) or (mark.startswith(b"<") and text.startswith(b"<") and mark in text):
            return name
    for mark, name in _OTHER_FORMATS:
        if head.startswith(mark):
            return name
    printable = sum(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head)
    return "a text file" if printable >= 0.95 * len(head) else "an unknown format"
