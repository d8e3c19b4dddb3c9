"""Matroska, AVI, MPEG-TS, FLV and other files that are cut, damaged or lie: ``(name, content, expected, why)``."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.unit.video.hostile_mp4 import CORRUPT, OK, TOO_LARGE, UNSUPPORTED, WARNED, Case, damaged_middles
from tests.unit.video.odd_videos import remux, write_audio, write_video

SEGMENT, INFO, TRACKS, CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
TRACK, TIMESTAMP, BLOCK = 0xAE, 0xE7, 0xA3
SAMPLED_FRAME = 4  # among those that the tests ask for
_MASTERS = {SEGMENT, INFO, TRACKS, TRACK, CLUSTER, 0xE0}


def other_container_cases(folder: Path) -> Iterator[Case]:
    """Every hostile file that is no mp4; sources are made in ``folder``."""
    mkv = Path(write_video(folder / "source.mkv", b_frames=0)).read_bytes()
    yield from _matroska_cut(mkv)
    yield from _matroska_lies(mkv)
    webm = Path(write_video(folder / "source.webm", codec="libvpx-vp9")).read_bytes()
    yield from _webm(webm)
    yield from _avi(Path(write_video(folder / "source.avi", codec="mpeg4", b_frames=0)).read_bytes())
    yield from _motion_jpeg(Path(write_video(folder / "jpeg.avi", codec="mjpeg", b_frames=0)).read_bytes())
    yield from _transport_stream(Path(write_video(folder / "source.ts")).read_bytes())
    yield from _flash(Path(write_video(folder / "source.flv")).read_bytes())
    yield from _heads_alone()
    yield from _without_picture(folder)


def elements(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Matroska elements in file order: (id, offset of the size, start and end of the content)."""
    stop = len(data) if stop is None else stop
    while start < stop:
        id_length = 9 - data[start].bit_length()
        kind = int.from_bytes(data[start : start + id_length], "big")
        size_at = start + id_length
        length = 9 - data[size_at].bit_length()
        size = int.from_bytes(data[size_at : size_at + length], "big") & ((1 << 7 * length) - 1)
        content = size_at + length
        yield kind, size_at, content, content + size
        if kind in _MASTERS:
            yield from elements(data, content, content + size)
        start = content + size


def _set_sizes(data: bytes, kind: int, size: bytes) -> bytes:
    """Overwrite the size of the first element of a kind with as many bytes as it has."""
    size_at, content = next((at, content) for found, at, content, _ in elements(data) if found == kind)
    length = content - size_at
    marker = 1 << (7 * length)
    value = (int.from_bytes(size, "big") & (marker - 1)) | marker
    return data[:size_at] + value.to_bytes(length, "big") + data[content:]


def set_contents(data: bytes, kind: int, change: Callable[[int, bytes], bytes]) -> bytes:
    """Change the content of every element of a kind; ``change(number, old)`` keeps the length."""
    out, number = bytearray(data), 0
    for found, _, start, stop in elements(data):
        if found == kind:
            out[start:stop] = change(number, data[start:stop]).rjust(stop - start, b"\0")
            number += 1
    return bytes(out)


def _retime_blocks(data: bytes, time_of: Callable[[int], int]) -> bytes:
    return set_contents(data, BLOCK, lambda number, old: old[:1] + struct.pack(">h", time_of(number)) + old[3:])


def _matroska_cut(mkv: bytes) -> Iterator[Case]:
    for percent, expected in ((10, (CORRUPT,)), (50, (CORRUPT,)), (97, (OK,))):
        yield (
            f"cut_{percent}.mkv",
            mkv[: len(mkv) * percent // 100],
            expected,
            "its length is in its head; less than 0.5 s is no loss",
        )
    yield from damaged_middles("middle_{}.mkv", mkv, (CORRUPT,))
    yield "head_zeros.mkv", bytes(64) + mkv[64:], (UNSUPPORTED,), "nothing says that it is a Matroska file"
    first_cluster = next(at for kind, at, _, _ in elements(mkv) if kind == CLUSTER) - 4
    yield "no_clusters.mkv", mkv[:first_cluster], (CORRUPT,), "tracks and no frame"


def _matroska_lies(mkv: bytes) -> Iterator[Case]:
    huge = b"\x7f" + b"\xff" * 6 + b"\xfe"
    yield "ebml_head_huge.mkv", _set_sizes(mkv, 0x1A45DFA3, huge), (CORRUPT,), "the head claims more than there is"
    yield "segment_huge.mkv", _set_sizes(mkv, SEGMENT, huge), (OK,), "the segment claims more than there is"
    yield "cluster_huge.mkv", _set_sizes(mkv, CLUSTER, huge), (OK,), "a cluster claims the rest"
    yield "tracks_huge.mkv", _set_sizes(mkv, TRACKS, huge), (OK,), "the tracks claim the rest"
    yield "block_huge.mkv", _set_sizes(mkv, BLOCK, huge), (OK,), "the first cluster is skipped: it starts late"
    yield "block_empty.mkv", _set_sizes(mkv, BLOCK, b"\0"), (OK,), "the first cluster is skipped: it starts late"
    yield "codec_unknown.mkv", mkv.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/XXX"), (UNSUPPORTED,), "no such codec"
    yield "track_is_subtitles.mkv", set_contents(mkv, 0x83, lambda _, old: b"\x11"), (UNSUPPORTED,), "H.264 subtitles"
    scale = set_contents(mkv, 0x2AD7B1, lambda _, old: b"\xff" * len(old))
    yield "time_scale_large.mkv", scale, (OK,), "17 times slower"
    yield "time_scale_0.mkv", set_contents(mkv, 0x2AD7B1, lambda _, old: b"\0"), (OK,), "no unit of time"
    yield "times_equal.mkv", _retime_blocks(mkv, lambda number: 0), (CORRUPT,), "all frames at once"
    backwards = _retime_blocks(mkv, lambda number: 2000 - 40 * number)
    yield "times_backwards.mkv", backwards, (CORRUPT,), "time runs backwards"
    negative = _retime_blocks(mkv, lambda number: 40 * number - 1000)
    yield "times_negative.mkv", negative, (CORRUPT,), "times before zero are none"
    late = set_contents(mkv, TIMESTAMP, lambda number, old: b"\x7f" * len(old))
    yield "cluster_far_away.mkv", late, (OK,), "the start lies far off"
    width = set_contents(mkv, 0xB0, lambda _, old: b"\xff" * len(old))
    yield "box_says_wide.mkv", width, (OK,), "the codec tells the true size, 96x64"


def _webm(webm: bytes) -> Iterator[Case]:
    yield "cut_50.webm", webm[: len(webm) // 2], (CORRUPT,), "the head says how long it should be"
    # the first bytes of a VP9 keyframe: frame marker, sync code, color, then 16 bits of width and height
    start = webm.index(b"\x49\x83\x42") + 3
    bits = int.from_bytes(webm[start : start + 5], "big")
    size_mask = ((1 << 32) - 1) << 4
    lying = webm[:start] + (bits | size_mask).to_bytes(5, "big") + webm[start + 5 :]
    yield "vp9_says_65536x65536.webm", lying, (CORRUPT,), "4 gigapixels"


def _avi(avi: bytes) -> Iterator[Case]:
    yield "cut_50.avi", avi[: len(avi) // 2], (CORRUPT,), "the head says how long it should be"
    yield from damaged_middles("middle_{}.avi", avi, (CORRUPT,))
    index = avi.index(b"idx1")
    entry = struct.Struct("<4sIII")
    for name, offset in (("beyond", 0x7FFF_0000), ("same", 4)):
        lying = bytearray(avi)
        for at in range(index + 8, len(avi) - 15, 16):
            kind, flags, _, size = entry.unpack_from(avi, at)
            entry.pack_into(lying, at, kind, flags, offset, size)
        yield f"index_{name}.avi", bytes(lying), (CORRUPT,), f"the index points to the {name} place"
    yield (
        "index_huge.avi",
        avi[: index + 4] + b"\xff\xff\xff\x7f" + avi[index + 8 :],
        (WARNED, CORRUPT),
        "an index of 2 GB is taken for frames",
    )
    strh, strf = avi.index(b"strh") + 8, avi.index(b"strf") + 8
    numbers = (("scale_0", 20, 0, OK), ("rate_0", 24, 0, OK), ("length_huge", 32, 0xFFFF_FFFF, CORRUPT))
    for name, offset, value, expected in numbers:
        lying = avi[: strh + offset] + struct.pack("<I", value) + avi[strh + offset + 4 :]
        yield f"{name}.avi", lying, (expected,), f"the stream's head lies: {name}"
    for name, value, expected in (("huge", 0x7FFF_FFFF, OK), ("negative", 0x8000_0000, CORRUPT)):
        lying = avi[: strf + 4] + struct.pack("<II", value, value) + avi[strf + 12 :]
        yield f"size_{name}.avi", lying, (expected,), "the codec tells the true size, 96x64"


def _motion_jpeg(avi: bytes) -> Iterator[Case]:
    head = struct.pack(">BBHBHH", 0xFF, 0xC0, 17, 8, 64, 96)
    large = struct.pack(">BBHBHH", 0xFF, 0xC0, 17, 8, 16_000, 16_000)
    assert avi.count(head) == 48
    yield "jpeg_says_16000x16000.avi", avi.replace(head, large), (CORRUPT, TOO_LARGE), "one picture would take 384 MB"
    at = [i for i in range(len(avi)) if avi.startswith(head, i)][SAMPLED_FRAME]
    lying = avi[:at] + large + avi[at + len(large) :]
    yield "one_jpeg_says_16000x16000.avi", lying, (WARNED,), "one frame of 48 lies, 5 % may be lost"


def _transport_stream(ts: bytes) -> Iterator[Case]:
    yield "cut_50.ts", ts[: len(ts) // 2], (OK,), "a broadcast has no length: half of it is a whole video"
    yield from damaged_middles("middle_{}.ts", ts, (WARNED, CORRUPT))
    yield "null_packets.ts", (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 200, (CORRUPT,), "packets that carry nothing"
    packets = [ts[i : i + 188] for i in range(0, len(ts), 188)]
    no_tables = b"".join(p for p in packets if (p[1] & 0x1F, p[2]) not in ((0, 0), (0x10, 0)))
    yield "no_tables.ts", no_tables, (OK,), "nothing says which packets are video"
    yield "every_other_packet.ts", b"".join(packets[:4] + packets[4::2]), (OK, WARNED, CORRUPT), "half of it is lost"
    yield "packets_twice.ts", b"".join(p for p in packets for _ in range(2)), (OK, WARNED, CORRUPT), "each packet twice"


def _flash(flv: bytes) -> Iterator[Case]:
    yield "cut_50.flv", flv[: len(flv) // 2], (OK, WARNED), "its length is in its head, but often wrong there"
    yield from damaged_middles("middle_{}.flv", flv, (OK, WARNED, CORRUPT))
    yield "head_only.flv", flv[:13], (CORRUPT,), "no stream in it"


def _heads_alone() -> Iterator[Case]:
    heads = {
        "ogg": b"OggS\0\2" + bytes(60),
        "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + b"\xff" * 8 + bytes(40),
        "mpg": b"\0\0\1\xba\x44\0\4\0\4\1" + bytes(60),
        "mkv": b"\x1aE\xdf\xa3" + b"\xff" * 60,
        "avi": b"RIFF\xff\xff\xff\x7fAVI LIST\xff\xff\xff\x7fhdrl" + bytes(60),
    }
    for suffix, head in heads.items():
        yield f"head_alone.{suffix}", head, (CORRUPT,), "a head of a container and nothing behind it"


def _without_picture(folder: Path) -> Iterator[Case]:
    for suffix, codec in (("mp4", "aac"), ("mkv", "aac"), ("ts", "aac")):
        audio = Path(write_audio(folder / f"audio.{suffix}", codec=codec)).read_bytes()
        yield f"audio_only.{suffix}", audio, (UNSUPPORTED,), "nothing to see"
    whole = folder / "source.mkv"
    yield "good_with_tail.mkv", whole.read_bytes() + b"\0" * 5000, (OK,), "rubbish behind the end"
    remuxed = remux(whole, folder / "moved.mp4")
    yield "good_named_mkv.mkv", Path(remuxed).read_bytes(), (OK,), "the suffix is wrong, the content is not"
