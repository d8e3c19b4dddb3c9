"""Stored frames are the decoded ones, bit for bit, or they are not used; nothing in a store can change that."""

import hashlib
import io
import json
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.settings.sources import FrameStoreConfig, ReadingConfig
from pipeline.video.decode import decode_stretch
from pipeline.video.frame_store import reading as reading_module
from pipeline.video.frame_store.piece_file import MAGIC, unpack_piece
from pipeline.video.frame_store.reading import FrameReader
from pipeline.video.frame_store.storage import FolderStorage
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import probe_video

WANTED = np.array([0, 3, 4, 17, 25, 40], dtype=np.int64)
SIZE = (32, 40)


@pytest.fixture(scope="module")
def isolated():
    reader = IsolatedReader(ReadingConfig(), max_bad_frames_share=0.05)
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def probe(videos):
    return probe_video(videos["b_frames"])


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def read(isolated, probe, root):
    """One reading by a worker that knows nothing yet -> frames, and the worker's notes."""

    def read(wanted=WANTED, *, of=probe, size=SIZE, fingerprint="0123456789abcdef", **store):
        reader = FrameReader(isolated, FrameStoreConfig(uri=str(root), **store))
        found = reader.decode(of, wanted, size=size, backend="auto", fingerprint=fingerprint, uri="v.mp4")
        return found, reader.take_notes()

    return read


def files_of(root):
    return sorted(root.glob("*/*.frames"))


def assert_same(found, expected):
    np.testing.assert_array_equal(found.frames, expected.frames)
    assert (found.decoder, found.bad_frames) == (expected.decoder, expected.bad_frames)


def test_a_second_reading_decodes_nothing_and_gives_the_same_bits(read, probe, root):
    expected = decode_stretch(probe, WANTED, size=SIZE)
    first, second = read(), read()
    assert_same(first[0], expected)
    assert_same(second[0], expected)
    assert (first[0].num_frames_decoded, second[0].num_frames_decoded) == (expected.num_frames_decoded, 0)
    assert (first[1], second[1]) == ((), ())
    assert len(files_of(root)) == 1


def test_frames_that_were_read_in_other_stretches_are_found_and_only_the_rest_is_decoded(read, probe, root):
    read(WANTED[:2])
    read(WANTED[2:4])
    found, _ = read()
    assert_same(found, decode_stretch(probe, WANTED, size=SIZE))
    assert found.num_frames_decoded == decode_stretch(probe, WANTED[4:], size=SIZE).num_frames_decoded
    assert read()[0].num_frames_decoded == 0
    assert read(WANTED[1:5])[0].num_frames_decoded == 0
    assert len(files_of(root)) == 3


def test_large_readings_become_several_files(read, probe, root, monkeypatch):
    monkeypatch.setattr(reading_module, "STRETCH_BYTES", 2 * SIZE[0] * SIZE[1] * 3)
    read()
    assert len(files_of(root)) == 3
    found, _ = read()
    assert_same(found, decode_stretch(probe, WANTED, size=SIZE))
    assert found.num_frames_decoded == 0


def test_bad_frames_stay_bad(read, damaged_video):
    probe = probe_video(damaged_video)
    wanted = np.arange(probe.num_frames, dtype=np.int64)
    expected = decode_stretch(probe, wanted, size=SIZE)
    assert expected.bad_frames
    for _ in range(2):
        found, _ = read(wanted, of=probe)
        assert_same(found, expected)


@pytest.mark.parametrize("other", ["size", "fingerprint", "timeline", "quality", "av", "machine"])
def test_what_changes_frames_is_kept_apart(read, videos, root, monkeypatch, other):
    read()
    changes = {"size": {"size": (32, 48)}, "fingerprint": {"fingerprint": "f" * 16}, "quality": {"quality": "high"}}
    if other == "timeline":
        changes["timeline"] = {"of": probe_video(videos["mkv"])}
    if other == "av":
        monkeypatch.setattr("importlib.metadata.version", lambda package: "99")
    if other == "machine":
        monkeypatch.setattr("platform.machine", lambda: "other")
    assert read(**changes.get(other, {}))[0].num_frames_decoded > 0
    assert len({file.parent for file in files_of(root)}) == 2


def test_high_quality_loses_at_once_what_it_would_lose_in_the_store(read, probe):
    first, second = read(quality="high"), read(quality="high")
    np.testing.assert_array_equal(first[0].frames, second[0].frames)
    assert second[0].num_frames_decoded == 0
    exact = decode_stretch(probe, WANTED, size=SIZE).frames.astype(float)
    assert 0 < np.mean((first[0].frames - exact) ** 2) < 65_025 / 10 ** (30 / 10)


def _resigned(packed, change):
    """The same file with another header, and a checksum that is right."""
    length = struct.unpack_from("<I", packed, len(MAGIC))[0]
    start = len(MAGIC) + 4
    header, content = json.loads(packed[start : start + length]), packed[start + length : -32]
    header, content = change(header, content)
    told = json.dumps(header).encode()
    body = MAGIC + struct.pack("<I", len(told)) + told + content
    return body + hashlib.sha256(body).digest()


def _picture(form, *, size=SIZE, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(np.zeros((*size, 3), np.uint8))
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _first_picture(new):
    """Replace the first picture's bytes, lengths told truly."""

    def change(header, content):
        rest = content[header["lengths"][0] :]
        return header | {"lengths": [len(new), *header["lengths"][1:]]}, new + rest

    return lambda packed: _resigned(packed, change)


def _header(**changed):
    return lambda packed: _resigned(packed, lambda header, content: (header | changed, content))


def _zstd(num_bytes):
    return pa.Codec("zstd").compress(bytes(num_bytes), asbytes=True)


DAMAGE = {
    "empty": lambda packed: b"",
    "cut off": lambda packed: packed[: len(packed) // 2],
    "cut by one byte": lambda packed: packed[:-1],
    "one bit": lambda packed: packed[:200] + bytes([packed[200] ^ 1]) + packed[201:],
    "something else": lambda packed: b"no frames" * 500,
    "header beyond the end": lambda packed: (
        (body := packed[: len(MAGIC)] + b"\xff\xff\xff\x7f" + packed[len(MAGIC) + 4 : -32])
        + hashlib.sha256(body).digest()
    ),
    "header of lists in lists": lambda packed: (
        (body := MAGIC + struct.pack("<I", 400_000) + b"[" * 400_000) + hashlib.sha256(body).digest()
    ),
    "no numbers": _header(frames=["a"] * 6),
    "negative": _header(lengths=[-1] * 6),
    "huge": _header(lengths=[2**61] * 6),
    "size": _header(size=[2**31, 2**31]),
    "three sizes": _header(size=[32, 40, 3]),
    "other frames": _header(frames=[1, 3, 4, 17, 25, 40]),
    "frames that are not there": _header(frames=[0, 3, 4, 17, 25, 10**9]),
    "bad ones beyond": _header(bad=[6]),
    "other pixels, right checksum": _header(checks=[0] * 6),
    "a PNG": _first_picture(_picture("PNG")),
    "a smaller picture": _first_picture(_zstd(32 * 39 * 3)),
    "a larger picture": _first_picture(_zstd(33 * 40 * 3)),
    "a picture that grows a million times": _first_picture(_zstd(10**8)),
    "another picture": _first_picture(_zstd(32 * 40 * 3)),
    "a picture cut off": _first_picture(_zstd(32 * 40 * 3)[:-4]),
    "an empty picture": _first_picture(b""),
}
JPEG_DAMAGE = {
    "another size": _first_picture(_picture("JPEG", size=(33, 40))),
    "another picture": _first_picture(_picture("JPEG")),
    "huge by its header": _first_picture(
        _picture("JPEG").replace(struct.pack(">HH", *SIZE), struct.pack(">HH", 65_000, 65_000))
    ),
    "cut off": _first_picture(_picture("JPEG")[:200]),
    "a PNG": _first_picture(_picture("PNG")),
}


@pytest.mark.parametrize("damage", JPEG_DAMAGE)
def test_so_it_is_at_high_quality(read, root, damage):
    expected, _ = read(quality="high")
    (file,) = files_of(root)
    sound = file.read_bytes()
    file.write_bytes(JPEG_DAMAGE[damage](sound))
    found, notes = read(quality="high")
    assert_same(found, expected)
    assert len(notes) == 1
    assert file.read_bytes() == sound


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_hostile_file_is_noted_once_and_made_again(read, probe, root, damage):
    expected = decode_stretch(probe, WANTED, size=SIZE)
    read()
    (file,) = files_of(root)
    sound = file.read_bytes()
    file.write_bytes(DAMAGE[damage](sound))
    found, notes = read()
    assert_same(found, expected)
    assert found.num_frames_decoded == expected.num_frames_decoded
    assert len(notes) == 1
    assert file.name in notes[0]
    assert file.read_bytes() == sound
    again, notes = read()
    assert_same(again, expected)
    assert (again.num_frames_decoded, notes) == (0, ())


def test_files_that_changed_places_are_noted_and_made_again(read, videos, root):
    other = probe_video(videos["mkv"])
    read()
    read(of=other, fingerprint="f" * 16)
    one, two = files_of(root)
    contents = one.read_bytes(), two.read_bytes()
    one.write_bytes(contents[1])
    two.write_bytes(contents[0])
    for options in ({}, {"of": other, "fingerprint": "f" * 16}):
        found, notes = read(**options)
        assert_same(found, decode_stretch(options.get("of", probe_video(videos["b_frames"])), WANTED, size=SIZE))
        assert len(notes) == 1
        assert "another video" in notes[0]
    assert (one.read_bytes(), two.read_bytes()) == contents


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "large"])
def test_what_is_no_plain_file_of_a_right_size_is_neither_followed_nor_waited_for(read, probe, root, kind, tmp_path):
    read()
    (file,) = files_of(root)
    sound = file.read_bytes()
    file.unlink()
    if kind == "link":
        (tmp_path / "secret").write_bytes(sound)
        file.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        (file / "inside").mkdir(parents=True)
    else:
        with file.open("wb") as grown:
            grown.truncate(2**40)
    found, notes = read()
    assert_same(found, decode_stretch(probe, WANTED, size=SIZE))
    assert len(notes) == 1
    assert not file.is_symlink()
    assert file.read_bytes() == sound


def test_pictures_that_kill_their_decoder_cost_one_child(read, probe, root, isolated, monkeypatch):
    """No WebP does so here; a child that dies while it unpacks stands for one that would."""
    read()
    unpack = isolated.unpack

    def dying(*arguments, **options):
        isolated.close()
        monkeypatch.setattr(isolated, "unpack", unpack)
        raise reading_module.ReaderLostError(
            reading_module.PipelineError(reading_module.FailureClass.CORRUPT_MEDIA, "crashed")
        )

    monkeypatch.setattr(isolated, "unpack", dying)
    found, notes = read()
    assert_same(found, decode_stretch(probe, WANTED, size=SIZE))
    assert len(notes) == 1
    assert read()[0].num_frames_decoded == 0


def test_a_store_that_cannot_be_used_costs_one_note_and_no_frame(isolated, probe, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    reader = FrameReader(isolated, FrameStoreConfig(uri=str(tmp_path / "file" / "below")))
    for wanted in (WANTED, WANTED[:3]):
        found = reader.decode(probe, wanted, size=SIZE, backend="auto", fingerprint="f" * 16, uri="v")
        assert_same(found, decode_stretch(probe, wanted, size=SIZE))
    (note,) = reader.take_notes()
    assert "cannot be used" in note


def test_two_writers_of_the_same_frames_leave_one_sound_file(videos, root):
    """Each with its own child, again and again, while a third one reads."""
    probe = probe_video(videos["b_frames"])
    expected = decode_stretch(probe, WANTED, size=SIZE)
    failures = []

    def work(number):
        storage, with_child = FolderStorage(root), IsolatedReader(ReadingConfig(), max_bad_frames_share=0.05)
        try:
            for _ in range(4):
                reader = FrameReader(with_child, FrameStoreConfig(uri=str(root)))
                found = reader.decode(probe, WANTED, size=SIZE, backend="auto", fingerprint="0" * 16, uri="v")
                if not np.array_equal(found.frames, expected.frames) or reader.take_notes():
                    failures.append(number)
                for file in files_of(root) if number == 0 else ():
                    storage.remove(file.parent.name, file.name)
        finally:
            with_child.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for file in files_of(root):
        assert unpack_piece(file.read_bytes(), max_frames=len(WANTED)).frame_indices.tolist() == WANTED.tolist()


def test_a_folder_is_trimmed_to_its_bound_and_what_was_read_last_stays(read, root):
    read(WANTED[:2])
    (oldest,) = files_of(root)
    size_bytes = oldest.stat().st_size
    os.utime(oldest, (10, 10))
    read(WANTED[2:4])
    (second,) = set(files_of(root)) - {oldest}
    os.utime(second, (20, 20))
    read(WANTED[:2])  # which makes it the newest
    read(WANTED[4:], max_bytes=int(2.5 * size_bytes))
    assert oldest.exists()
    assert not second.exists()
    assert len(files_of(root)) == 2


def test_what_a_dead_writer_left_goes_when_the_store_is_looked_through(root):
    storage = FolderStorage(root)
    storage.write("0123456789abcdef-0", "a.frames", b"x")
    left = root / "0123456789abcdef-0" / ".tmp-1"
    left.write_bytes(b"half")
    assert [file.name for file in storage.walk()] == ["a.frames"]
    assert left.exists()
    os.utime(left, (0, 0))
    list(storage.walk())
    assert not left.exists()
    assert Path(root).is_dir()
