"""Files and URIs that name other files and hosts, under the name of a video: ``(name, content, expected, why)``."""

import struct
from collections.abc import Iterator

from tests.unit.video.hostile_mp4 import CORRUPT, NOT_FOUND, UNSUPPORTED, Case
from tests.unit.video.mp4_boxes import box

FOLLOWED = "FFmpeg, left to itself, would follow it"


def redirect_cases(*, server_url: str, secret_path: str, ts: bytes, avi: bytes) -> Iterator[Case]:
    """Files, each once with the secret and once with the server as its target."""
    for place, target in (("secret", secret_path), ("server", f"{server_url}/video.ts")):
        for name, text in _scripts(target).items():
            yield f"{name}_to_{place}.mp4", text.encode(), (UNSUPPORTED,), FOLLOWED
        for name, content, expected in _polyglots(target, ts=ts, avi=avi):
            yield f"{name}_to_{place}.mp4", content, expected, "a script behind the head of a video"


def redirect_uris(*, server_url: str, secret_path: str) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """``(name, uri, expected, why)``: addresses, as a manifest may hold them."""
    host = server_url.removeprefix("http://")
    schemes = ("http", "https", "tcp", "tls", "udp", "rtp", "rtsp", "rtmp", "ftp", "sftp", "gopher", "mms", "srt")
    schemes += ("ipfs", "smb", "webdav", "unix", "hls+http", "concat", "subfile", "simplecache::http", "github", "dir")
    for scheme in schemes:
        uri = f"{scheme}://{host}/video.ts"
        yield f"scheme {scheme}", uri, (UNSUPPORTED,), "not on the list of schemes"
    protocols = {
        "concat": f"concat:{secret_path}|{secret_path}",
        "subfile": f"subfile,,start,0,end,100,,:{secret_path}",
        "crypto": f"crypto:{secret_path}",
        "async": f"async:{secret_path}",
        "cache": f"cache:{secret_path}",
        "data": "data:video/mp4;base64,AAAA",
        "pipe": "pipe:0",
        "fd": "fd:0",
        "glob": secret_path.replace("secret", "s?cr[e]t"),
        "lavfi": "lavfi:testsrc",
        "option": "-i",
    }
    for name, uri in protocols.items():
        yield f"protocol {name}", uri, (NOT_FOUND,), "to us, no protocol but the name of a file"
    yield "file of a host", f"file://{host}/video.ts", (UNSUPPORTED,), "a file of another machine"
    chained = f"file:///none.mp4::{server_url}/video.ts"
    yield "chained", chained, (NOT_FOUND,), "fsspec would take '::' for a chain of file systems"


def _scripts(target: str) -> dict[str, str]:
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.0,\n{target}\n#EXT-X-ENDLIST\n"
    mpd = (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp2t"><Representation id="1" '
        f'bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )
    host = target.removeprefix("http://").split("/")[0] or "127.0.0.1"
    return {
        "hls": hls,
        "hls_bom": f"\ufeff{hls}",
        "hls_indented": f" \t\r\n\n{hls}",
        "hls_crlf": hls.replace("\n", "\r\n"),
        "hls_upper": hls.lower(),
        "hls_variants": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
        "hls_key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\nnone.ts\n',
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "concat_bare": f"file '{target}'\n",
        "dash": mpd,
        "smooth": f'<SmoothStreamingMedia MajorVersion="2"><StreamIndex Url="{target}"/></SmoothStreamingMedia>',
        "smil": f'<smil><body><video src="{target}"/></body></smil>',
        "asx": f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
        "xspf": f'<playlist version="1"><trackList><track><location>{target}</location></track></trackList></playlist>',
        "asf_reference": f"[Reference]\nRef1={target}\n",
        "pls": f"[playlist]\nFile1={target}\nNumberOfEntries=1\n",
        "rtsptext": f"rtsptext\n{target}\n",
        "sdp": f"v=0\no=- 0 0 IN IP4 {host}\ns=x\nc=IN IP4 {host}\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "ram": f"{target}\n",
        "avisynth": f'DirectShowSource("{target}")\n',
        "vapoursynth": f"import os\nos.stat('{target}')\n",
        "imf": f"<CompositionPlaylist><Id>{target}</Id></CompositionPlaylist>",
    }


def _polyglots(target: str, *, ts: bytes, avi: bytes) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    hls = f"#EXTM3U\n#EXTINF:1.0,\n{target}\n#EXT-X-ENDLIST\n".encode()
    yield "ftyp_then_hls", box(b"ftyp", b"isom", bytes(4), b"isom") + hls, (CORRUPT,)
    yield "hls_in_ftyp", b"#EXT" + b"ftyp" + hls, (CORRUPT,)
    yield "avi_then_hls", b"RIFF\x10\0\0\0AVI " + hls, (UNSUPPORTED,)
    yield "mkv_then_hls", b"\x1aE\xdf\xa3" + hls, (CORRUPT,)
    yield "ts_with_hls", b"".join(b"\x47\x1f\xff\x10" + hls.ljust(184)[:184] for _ in range(20)) + hls, (CORRUPT,)
    yield "sdp_in_free", b"v=0\nfree\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", (CORRUPT,)
    yield "avi_subtitles", _with_subtitle_playlist(avi, hls), ("ok", "ok-with-warning")


def _with_subtitle_playlist(avi: bytes, hls: bytes) -> bytes:
    """An AVI whose subtitle stream (GAB2) holds a playlist: a known attack on FFmpeg before version 3.3."""
    head = struct.pack("<4s4sIHHIIIIIIII", b"txts", b"\0\0\0\0", 0, 0, 0, 0, 1, 25, 0, 48, 0, 0, 0) + bytes(8)
    stream = _chunk(b"LIST", b"strl" + _chunk(b"strh", head) + _chunk(b"strf", b""))
    text = b"GAB2\0" + struct.pack("<HIH", 2, 2, 0) + struct.pack("<HI", 4, len(hls)) + hls
    at = avi.index(b"LIST")
    length = struct.unpack_from("<I", avi, at + 4)[0]
    movi = avi.index(b"movi", at + 8 + length)
    packet = _chunk(b"01tx", text)
    grown = avi[: at + 4] + struct.pack("<I", length + len(stream)) + avi[at + 8 : at + 8 + length] + stream
    between = avi[at + 8 + length : movi - 4]
    size = struct.unpack_from("<I", avi, movi - 4)[0] + len(packet)
    body = avi[movi + 4 :]
    return grown + between + struct.pack("<I", size) + b"movi" + packet + body[: body.rindex(b"idx1")]


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload + bytes(len(payload) % 2)
