"""Mp4 files that are cut, damaged or lie, as bytes: ``(name, content, expected, why)``."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.failures import FailureClass
from tests.unit.video.mp4_boxes import box, find_boxes, payload_of, put_u32, rename_box, replace_payload, with_sps_size

OK, WARNED = "ok", "ok-with-warning"
CORRUPT, UNSUPPORTED = FailureClass.CORRUPT_MEDIA, FailureClass.UNSUPPORTED_MEDIA
TOO_LARGE, OUT_OF_MEMORY = FailureClass.TOO_LARGE, FailureClass.OUT_OF_MEMORY
NOT_FOUND = FailureClass.NOT_FOUND
Case = tuple[str, bytes, tuple[str, ...], str]

MDIA = "moov/trak/mdia"
STBL = f"{MDIA}/minf/stbl"
AVC1 = f"{STBL}/stsd/avc1"
HUGE = 0xFFFF_FFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class Mp4Sources:
    """Good files of the same 48 frames: index behind the frames, index first, in fragments; and audio alone."""

    whole: bytes
    fast: bytes
    fragmented: bytes


def mp4_cases(sources: Mp4Sources, *, server_url: str, secret_path: str) -> Iterator[Case]:
    """Every hostile mp4."""
    yield from _cut(sources)
    yield from _damaged(sources.whole)
    yield from _lying_tables(sources.whole)
    yield from _lying_times(sources.whole)
    yield from _lying_sizes(sources)
    yield from _lying_pictures(sources.whole)
    yield from _encrypted(sources.whole)
    yield from _external(sources.whole, server_url=server_url, secret_path=secret_path)


def damaged_middles(name: str, data: bytes, expected: tuple[str, ...]) -> Iterator[Case]:
    """A fifth of the file, from its middle on, overwritten."""
    start, stop = int(len(data) * 0.45), int(len(data) * 0.65)
    noise = np.random.default_rng(0).integers(0, 256, stop - start, dtype=np.uint8).tobytes()
    for kind, filling in (("zeros", bytes(stop - start)), ("ones", b"\xff" * (stop - start)), ("noise", noise)):
        yield name.format(kind), data[:start] + filling + data[stop:], expected, "a fifth of it is overwritten"


def _cut(sources: Mp4Sources) -> Iterator[Case]:
    whole, fast, fragmented = sources.whole, sources.fast, sources.fragmented
    for percent in (10, 50, 95):
        yield f"cut_{percent}.mp4", whole[: len(whole) * percent // 100], (CORRUPT,), "the index, at the end, is lost"
    for percent in (30, 70):
        yield f"fast_cut_{percent}.mp4", fast[: len(fast) * percent // 100], (CORRUPT,), "the index says what is lost"
    sizes = [int(n) for n in np.frombuffer(payload_of(fast, f"{STBL}/stsz")[12:], dtype=">u4")]
    yield "fast_cut_by_2_frames.mp4", fast[: -sum(sizes[-2:])], (WARNED,), "2 of 48 frames are lost, 5 % may be"
    yield "fast_index_only.mp4", fast[: find_boxes(fast, "mdat")[0]], (CORRUPT,), "an index and no frame"
    yield "fragmented_cut_60.mp4", fragmented[: len(fragmented) * 60 // 100], (CORRUPT,), "a fragment is not whole"
    yield "fragmented_first_only.mp4", fragmented[: find_boxes(fragmented, "moof")[0]], (CORRUPT,), "no fragment"
    empty = replace_payload(whole, f"{STBL}/stsz", bytes(12))
    for table in ("stts", "stsc", "stco", "stss", "ctts"):
        empty = replace_payload(empty, f"{STBL}/{table}", bytes(8))
    yield "no_frames.mp4", empty, (CORRUPT,), "a video track of 0 frames"


def _damaged(whole: bytes) -> Iterator[Case]:
    yield from damaged_middles("middle_{}.mp4", whole, (CORRUPT,))
    yield "head_zeros.mp4", bytes(32) + whole[32:], (UNSUPPORTED,), "nothing says that it is an mp4"
    yield "head_noise.mp4", whole[:8] + b"\x9c" * 64 + whole[72:], (CORRUPT,), "brands and the first sizes are gone"
    yield "ftyp_only.mp4", box(b"ftyp", b"isom", bytes(4), b"isom"), (CORRUPT,), "nothing behind the first box"


def _lying_tables(whole: bytes) -> Iterator[Case]:
    count = "a count that the file cannot hold"
    for table in ("stts", "ctts", "stss", "stsc"):
        yield f"{table}_count_huge.mp4", put_u32(whole, f"{STBL}/{table}", 4, HUGE), (CORRUPT,), count
    yield "stco_count_huge.mp4", put_u32(whole, f"{STBL}/stco", 4, HUGE), (OK, CORRUPT), count
    yield "stsz_count_huge.mp4", put_u32(whole, f"{STBL}/stsz", 8, HUGE), (CORRUPT,), count
    yield "stsz_count_0.mp4", put_u32(whole, f"{STBL}/stsz", 8, 0), (CORRUPT,), "frames without sizes"
    yield "stsz_count_1.mp4", put_u32(whole, f"{STBL}/stsz", 8, 1), (OK,), "one frame of 48 is counted"
    sizes = payload_of(whole, f"{STBL}/stsz")
    for name, size in (("huge", 0x7FFF_FFFF), ("zero", 0)):
        lying = sizes[:12] + struct.pack(">I", size) * 48
        yield f"stsz_sizes_{name}.mp4", replace_payload(whole, f"{STBL}/stsz", lying), (CORRUPT,), "sizes of frames lie"
    for num_frames in (500_000, 40_000_000):
        fixed = replace_payload(whole, f"{STBL}/stsz", struct.pack(">III", 0, 1, num_frames))
        fixed = replace_payload(fixed, f"{STBL}/stsc", struct.pack(">IIIII", 0, 1, 1, num_frames, 1))
        fixed = replace_payload(fixed, f"{STBL}/stco", struct.pack(">III", 0, 1, 48))
        expected = (CORRUPT,) if num_frames < 10**6 else (CORRUPT, TOO_LARGE, OUT_OF_MEMORY)
        why = f"{num_frames:,} frames of one byte, in 12 bytes of index"
        yield f"stsz_{num_frames}_of_1_byte.mp4", fixed, expected, why
    yield "stsc_per_chunk_huge.mp4", put_u32(whole, f"{STBL}/stsc", 8, 0x7FFF_FFFF), (CORRUPT,), count
    yield (
        "stsc_per_chunk_0.mp4",
        put_u32(whole, f"{STBL}/stsc", 8, 0),
        (OK,),
        "the demuxer mends it: 1 per chunk at least",
    )
    yield "stco_beyond_file.mp4", put_u32(whole, f"{STBL}/stco", 8, 0x7FFF_0000), (CORRUPT,), "frames beyond the end"
    yield "stco_overlaps_index.mp4", put_u32(whole, f"{STBL}/stco", 8, 0), (CORRUPT,), "frames begin in the header"
    yield "stss_empty.mp4", replace_payload(whole, f"{STBL}/stss", bytes(8)), (OK,), "a table that marks no keyframe"
    everywhere = struct.pack(">II48I", 0, 48, *range(1, 49))
    yield (
        "stss_every_frame.mp4",
        replace_payload(whole, f"{STBL}/stss", everywhere),
        (OK,),
        "each frame is called a keyframe",
    )


def _lying_times(whole: bytes) -> Iterator[Case]:
    yield "mdhd_timescale_0.mp4", put_u32(whole, f"{MDIA}/mdhd", 12, 0), (OK,), "no unit of time"
    yield "mvhd_timescale_0.mp4", put_u32(whole, "moov/mvhd", 12, 0), (OK,), "no unit of time"
    yield "mdhd_duration_huge.mp4", put_u32(whole, f"{MDIA}/mdhd", 16, HUGE), (OK,), "the frames tell otherwise"
    yield "mvhd_duration_negative.mp4", put_u32(whole, "moov/mvhd", 16, 0x8000_0001), (OK,), "the frames tell otherwise"
    plain = rename_box(rename_box(whole, f"{STBL}/ctts", b"free"), "moov/trak/edts", b"free")
    for name, delta in (("equal", 0), ("backwards", HUGE - 99)):
        times = replace_payload(plain, f"{STBL}/stts", struct.pack(">IIII", 0, 1, 48, delta))
        yield f"stts_{name}.mp4", times, (OK, WARNED), f"time stamps are {name}"
    gap = replace_payload(plain, f"{STBL}/stts", struct.pack(">IIIIIIII", 0, 3, 20, 512, 1, 0x7FFF_FFFF, 27, 512))
    yield "stts_gap_of_46_hours.mp4", gap, (WARNED,), "under the limit of 48 hours; a picture that stands still so long"
    gap = replace_payload(plain, f"{STBL}/stts", struct.pack(">IIIIIIII", 0, 3, 10, 512, 10, 0x7FFF_FFFF, 28, 512))
    yield "stts_gap_of_460_hours.mp4", gap, (TOO_LARGE,), "beyond the limit of 48 hours"
    hidden = replace_payload(whole, "moov/trak/edts/elst", struct.pack(">IIIII", 0, 1, 1920, 10**6, 1 << 16))
    yield "elst_hides_all.mp4", hidden, (CORRUPT,), "the edit list starts behind the last frame"
    again = struct.pack(">II", 0, 1_000) + struct.pack(">III", 40, 1024, 1 << 16) * 1_000
    yield "elst_1000_times.mp4", replace_payload(whole, "moov/trak/edts/elst", again), (OK,), "one frame again"


def _lying_sizes(sources: Mp4Sources) -> Iterator[Case]:
    whole, fast = sources.whole, sources.fast
    moov, mdat = find_boxes(fast, "moov")[0], find_boxes(fast, "mdat")[0]
    yield "moov_size_0.mp4", fast[:moov] + bytes(4) + fast[moov + 4 :], (OK,), "the index claims the whole rest"
    yield "mdat_size_0.mp4", fast[:mdat] + bytes(4) + fast[mdat + 4 :], (OK,), "legal: up to the end of the file"
    yield "mdat_size_1.mp4", whole[:32] + whole[32:].replace(b"mdat", b"mdat" + b"\x7f" * 8, 1), (CORRUPT,), "64 bits"
    lying = fast[:moov] + struct.pack(">I4sQ", 1, b"free", 2**63 - 1) + fast[moov:]
    yield "free_of_8_exabytes.mp4", lying, (CORRUPT,), "a box larger than any disk hides the rest"
    nested = b"".join(struct.pack(">I4s", 8 * left, b"moov" if left % 2 else b"trak") for left in range(10_000, 0, -1))
    yield "nested_10000.mp4", fast[:moov] + nested, (CORRUPT,), "boxes in boxes, 10,000 deep"
    bomb = zlib.compress(bytes(16 * 1024**2), 9)
    declared = struct.pack(">I", 0x7000_0000)
    cmov = box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", declared, bomb)))
    yield "compressed_index_bomb.mp4", fast[:moov] + cmov, (UNSUPPORTED,), "an index of 1.8 GB when unpacked"
    trun = find_boxes(sources.fragmented, "moof/traf/trun")[-1] + 12
    lying = sources.fragmented[:trun] + struct.pack(">I", 0x7FFF_FFFF) + sources.fragmented[trun + 4 :]
    yield "trun_count_huge.mp4", lying, (CORRUPT,), "a fragment of 2 billion frames"


def _lying_pictures(whole: bytes) -> Iterator[Case]:
    size = struct.pack(">HH", 16_000, 16_000)
    offset = find_boxes(whole, AVC1)[-1] + 32
    boxed = whole[:offset] + size + whole[offset + 4 :]
    yield "box_says_16000x16000.mp4", boxed, (OK,), "the codec tells the true size, 96x64"
    tkhd = find_boxes(whole, "moov/trak/tkhd")[-1] + 84
    matrix = whole[:tkhd] + struct.pack(">II", HUGE, HUGE) + whole[tkhd + 8 :]
    yield "tkhd_says_65535x65535.mp4", matrix, (OK,), "the codec tells the true size, 96x64"
    lying = with_sps_size(whole, f"{AVC1}/avcC", width=16_000, height=16_000)
    yield "codec_says_16000x16000.mp4", lying, (TOO_LARGE, OUT_OF_MEMORY), "one picture takes 384 MB"
    lying = with_sps_size(whole, f"{AVC1}/avcC", width=1024, height=1024)
    yield "codec_says_1024x1024.mp4", lying, (OK, WARNED, CORRUPT), "allowed, but there is no such picture inside"
    yield "unknown_codec.mp4", rename_box(whole, AVC1, b"zzzz"), (UNSUPPORTED,), "no decoder has this name"
    yield "no_codec_parameters.mp4", rename_box(whole, f"{AVC1}/avcC", b"free"), (CORRUPT,), "H.264 without its head"
    noise = b"\xff\x00\x7f" * 20
    yield (
        "codec_parameters_noise.mp4",
        replace_payload(whole, f"{AVC1}/avcC", noise),
        (CORRUPT,),
        "H.264 without a head",
    )


def _encrypted(whole: bytes) -> Iterator[Case]:
    yield "encv_bare.mp4", rename_box(whole, AVC1, b"encv"), (UNSUPPORTED,), "encrypted, and nothing says how"
    tenc = box(b"schi", box(b"tenc", bytes(6), b"\1\10", bytes(range(16))))
    sinf = box(b"sinf", box(b"frma", b"avc1"), box(b"schm", bytes(4), b"cenc", b"\0\1\0\0"), tenc)
    entry = payload_of(whole, AVC1) + sinf
    locked = rename_box(replace_payload(whole, AVC1, entry), AVC1, b"encv")
    start, length = find_boxes(whole, "mdat")[0] + 8, len(payload_of(whole, "mdat"))
    noise = np.random.default_rng(1).integers(0, 256, length, dtype=np.uint8).tobytes()
    locked = locked[:start] + noise + locked[start + length :]
    yield "encv_cenc.mp4", locked, (UNSUPPORTED, CORRUPT), "encrypted with a key that nobody here has"


def _external(whole: bytes, *, server_url: str, secret_path: str) -> Iterator[Case]:
    """The frames lie in another file, as QuickTime's data references allow."""
    path = secret_path.encode()
    alias = bytearray(150)
    alias[4:6], alias[50:51] = struct.pack(">H", 2), b"\6"
    alias = bytes(alias) + struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2) + b"\xff\xff\0\0"
    references = {
        "alias_to_secret": box(b"alis", bytes(4), alias),
        "url_to_secret": box(b"url ", bytes(4), b"file://" + path + b"\0"),
        "url_to_server": box(b"url ", bytes(4), server_url.encode() + b"/frames.mp4\0"),
        "rsrc_to_secret": box(b"rsrc", bytes(4), alias),
    }
    for name, reference in references.items():
        payload = struct.pack(">II", 0, 1) + reference
        data = replace_payload(whole, f"{MDIA}/minf/dinf/dref", payload)
        expected = (CORRUPT,) if name.startswith("alias") else (OK,)  # FFmpeg knows no others: it reads the file itself
        yield f"dref_{name}.mov", data, expected, "the index says that the frames lie in another file"
    link = box(b"url ", bytes(4), server_url.encode() + b"/other.mov\0")
    redirect = box(b"ftyp", b"qt  ", bytes(4)) + box(b"moov", box(b"rmra", box(b"rmda", box(b"rdrf", link))))
    yield "reference_movie.mov", redirect, (UNSUPPORTED,), "a QuickTime movie that names another one"
