"""Everything that a manifest may name and that is no good video: what it is, and how its question must end."""

import gzip
import io
import os
import socket
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.unit.video.hostile_containers import other_container_cases
from tests.unit.video.hostile_mp4 import CORRUPT, NOT_FOUND, OK, UNSUPPORTED, WARNED, Case, Mp4Sources, mp4_cases
from tests.unit.video.hostile_redirects import redirect_cases, redirect_uris
from tests.unit.video.odd_videos import paint_frame, remux, write_video
from tests.unit.video.tripwires import SECRET_COLOR

__all__ = ["OK", "WARNED", "HostileFile", "make_hostile_files"]
IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class HostileFile:
    """One row of a manifest: ``expected`` holds failure classes, ``"ok"`` or ``"ok-with-warning"``."""

    name: str
    uri: str
    expected: frozenset[str]
    why: str


def make_hostile_files(folder: Path, *, server_url: str, secret_path: str) -> list[HostileFile]:
    """Write them all into ``folder``; some name the secret or the server, which nobody may touch."""
    sources, hostile = folder / "sources", folder / "hostile"
    sources.mkdir(parents=True)
    hostile.mkdir()
    whole = write_video(sources / "whole.mp4")
    mp4 = Mp4Sources(
        whole=Path(whole).read_bytes(),
        fast=Path(remux(whole, sources / "fast.mp4", options={"movflags": "faststart"})).read_bytes(),
        fragmented=Path(
            remux(whole, sources / "fragmented.mp4", options={"movflags": "frag_keyframe+empty_moov"})
        ).read_bytes(),
    )
    cases = [
        *_no_videos(sources),
        *mp4_cases(mp4, server_url=server_url, secret_path=secret_path),
        *other_container_cases(sources),
    ]
    ts, avi = (sources / "source.ts").read_bytes(), (sources / "source.avi").read_bytes()
    cases += redirect_cases(server_url=server_url, secret_path=secret_path, ts=ts, avi=avi)
    for name, content, _, _ in cases:
        (hostile / name).write_bytes(content)
    named = [(name, str(hostile / name), expected, why) for name, _, expected, why in cases]
    named += _special_files(hostile, good=mp4.whole)
    named += redirect_uris(server_url=server_url, secret_path=secret_path)
    return [
        HostileFile(name=name, uri=uri, expected=frozenset(map(str, exp)), why=why) for name, uri, exp, why in named
    ]


def _no_videos(folder: Path) -> Iterator[Case]:
    """Good files of another kind, and rubbish."""
    yield "zero_bytes.mp4", b"", (CORRUPT,), "empty"
    yield "one_byte.mp4", b"\0", (UNSUPPORTED,), "no container is that short"
    yield "seven_bytes.mp4", b"\0\0\0\x20fty", (UNSUPPORTED,), "no container is that short"
    yield "text.mp4", b"this is not a video\n" * 50, (UNSUPPORTED,), "text"
    yield "json.mp4", b'{"error": "AccessDenied"}', (UNSUPPORTED,), "what a failed download leaves"
    yield "html.mp4", b"<!DOCTYPE html><html><body>404</body></html>", (UNSUPPORTED,), "what a failed download leaves"
    yield "subtitles.mp4", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n", (UNSUPPORTED,), "text"
    yield "noise.mp4", np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8).tobytes(), (UNSUPPORTED,), "-"
    picture = Image.fromarray(paint_frame(3, width=96, height=64))
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        yield f"{kind.lower()}.mp4", buffer.getvalue(), (UNSUPPORTED,), "a picture"
    moving = io.BytesIO()
    frames = [Image.fromarray(paint_frame(i, width=96, height=64)) for i in range(5)]
    frames[0].save(moving, "PNG", save_all=True, append_images=frames[1:])
    yield "animated.png", moving.getvalue(), (UNSUPPORTED,), "an animation, but no video container"
    for name, codec, suffix in (("stream_h264", "libx264", "h264"), ("stream_mjpeg", "mjpeg", "mjpeg")):
        stream = Path(write_video(folder / f"stream.{suffix}", codec=codec, b_frames=0)).read_bytes()
        yield f"{name}.mp4", stream, (UNSUPPORTED,), "a stream without a container has no time"
    y4m = write_video(folder / "stream.y4m", codec="wrapped_avframe", b_frames=0, num_frames=3)
    yield "stream_y4m.mp4", Path(y4m).read_bytes(), (UNSUPPORTED,), "a stream without a container has no time"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("video.mp4", b"x" * 1000)
    yield "zip.mp4", archive.getvalue(), (UNSUPPORTED,), "an archive"
    yield "gzip.mp4", gzip.compress(b"x" * 1000), (UNSUPPORTED,), "an archive"
    yield "elf.mp4", Path("/bin/true").read_bytes()[:5000], (UNSUPPORTED,), "a program"
    yield "wav.mp4", b"RIFF\x24\0\0\0WAVEfmt " + bytes(28), (UNSUPPORTED,), "sound"
    yield "mp3.mp4", b"ID3\4\0\0\0\0\0\0" + b"\xff\xfb\x90\0" * 400, (UNSUPPORTED,), "sound"


def _special_files(folder: Path, *, good: bytes) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """What is not a regular file, or has an unusual name."""
    yield "missing", str(folder / "missing.mp4"), (NOT_FOUND,), "no such file"
    (folder / "folder.mp4").mkdir()
    yield "folder", str(folder / "folder.mp4"), (UNSUPPORTED,), "a folder"
    os.mkfifo(folder / "fifo.mp4")
    yield "fifo", str(folder / "fifo.mp4"), (UNSUPPORTED,), "opening it would block for ever"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))  # the name of a socket must be short
    yield "socket", str(folder / "s"), (UNSUPPORTED,), "no file"
    for name, target in (
        ("loop", folder / "loop.mp4"),
        ("dangling", folder / "nowhere.mp4"),
        ("to_folder", folder / "folder.mp4"),
        ("to_zeros", Path("/dev/zero")),
        ("to_good", folder / "good.mp4"),
    ):
        (folder / f"{name}.mp4").symlink_to(target)
    (folder / "good.mp4").write_bytes(good)
    yield "link to itself", str(folder / "loop.mp4"), (NOT_FOUND,), "a loop of links"
    yield "link to nothing", str(folder / "dangling.mp4"), (NOT_FOUND,), "its target is gone"
    yield "link to a folder", str(folder / "to_folder.mp4"), (UNSUPPORTED,), "a folder"
    yield "link to endless zeros", str(folder / "to_zeros.mp4"), (UNSUPPORTED,), "a device"
    yield "link to a good video", str(folder / "to_good.mp4"), (OK,), "links are fine"
    for device in ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/tty"):
        yield device, device, (UNSUPPORTED,), "a device"
    yield "/proc/self/environ", "/proc/self/environ", (CORRUPT,), "has no size"
    yield "/proc/self/mem", "/proc/self/mem", (CORRUPT,), "has no size"
    yield "file as folder", str(folder / "good.mp4" / "x.mp4"), (NOT_FOUND,), "a file in a file"
    yield "name too long", str(folder / ("x" * 300 + ".mp4")), (NOT_FOUND,), "longer than a name may be"
    yield "path too long", str(folder) + "/x" * 3000, (NOT_FOUND,), "longer than a path may be"
    yield "null byte", f"{folder / 'good.mp4'}\0.mp4", (NOT_FOUND,), "would end the name early in C"
    yield "null byte in URI", f"file://{folder / 'good.mp4'}%00.mp4", (NOT_FOUND,), "would end the name early in C"
    up = "../" * 40
    yield "upwards to text", f"{folder}/{up}etc/passwd", (UNSUPPORTED,), "text, wherever it lies"
    yield "upwards in URI", f"file://{folder}/..%2f..%2f{up}etc/passwd", (UNSUPPORTED,), "text, wherever it lies"
    (folder / "locked.mp4").write_bytes(good)
    (folder / "locked.mp4").chmod(0)
    yield "no permission", str(folder / "locked.mp4"), (OK,) if IS_ROOT else ("access_denied",), "root may read it"
    yield from _odd_names(folder, good=good)


def _odd_names(folder: Path, *, good: bytes) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Good videos under names that FFmpeg, shells or terminals take for something else."""
    names = ["-i.mp4", "concat:a.mp4", "img%03d.png", "*.mp4", "a?b[c]{d}.mp4", "subfile,,a.mp4", "file:x.mp4"]
    names += [
        "http:x.mp4",
        "tab\tand\nline.mp4",
        "\x1b[31mred.mp4",
        "'quoted' \"twice\".mp4",
        "日本語 🎬.mp4",
        "%2e%00.mp4",
    ]
    names += ["https:", "no_suffix", "a#b;c&d=e.mp4", "\u202egpj.mp4", "|cat.mp4", "\udcff\udcfe.mp4"]
    for name in names:
        (folder / name).write_bytes(good)
        yield f"named {name!r}", str(folder / name), (OK,), "the name of a file means nothing"
    pattern = folder / "sequence" / "img%03d.jpg"
    pattern.parent.mkdir()
    write_video(folder / "all_keyframes.mp4", codec="mpeg4", b_frames=0, options={"g": "1"})
    (folder / "all_keyframes.mp4").rename(pattern)
    for number in range(48):
        Image.new("RGB", (96, 64), SECRET_COLOR).save(pattern.parent / f"img{number:03}.jpg")
    yield "named like a sequence", str(pattern), (OK,), "FFmpeg, left to itself, would show the pictures beside it"
