"""The sandbox changes no pixel and no time, and says what it is; without enough of it, it may be refused."""

import os
import sys

import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video import decode_child
from pipeline.video.backends import decord_backend
from pipeline.video.decode import decode_stretch
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import probe_video
from pipeline.video.probe_codec import pack_probe
from pipeline.video.video_file import HandedFile, UnreadableError, handed_over, open_file
from tests.unit.video.odd_videos import ODD_VIDEOS, make_odd_video

SIZE = (40, 56)


@pytest.fixture(scope="module")
def reader():
    reader = IsolatedReader(ReadingConfig(), max_bad_frames_share=0.05)
    yield reader
    reader.close()


@pytest.mark.parametrize("name", ODD_VIDEOS)
def test_times_and_pixels_are_those_of_a_process_without_one(reader, name, tmp_path):
    path = make_odd_video(name, tmp_path)
    expected = probe_video(path)
    found = reader.probe(path)
    assert pack_probe(found) == pack_probe(expected)
    wanted = np.unique(np.linspace(0, expected.num_frames - 1, 9).astype(np.int64))
    decoded, here = reader.decode(found, wanted, size=SIZE), decode_stretch(expected, wanted, size=SIZE)
    np.testing.assert_array_equal(decoded.frames, here.frames)
    assert (decoded.num_frames_decoded, decoded.bad_frames) == (here.num_frames_decoded, here.bad_frames)
    assert decoded.sandbox == reader.sandbox


def test_a_palette_that_is_not_repeated_is_found_out_as_without_one(reader, tmp_path):
    """Its keyframes are tried by converting pictures, which starts threads: where they may not start, none is tried."""
    path = _write_palette(tmp_path / "palette.avi")
    assert len(probe_video(path).keyframe_indices) == 1
    assert len(reader.probe(path).keyframe_indices) == 1


def _write_palette(path):
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("rawvideo", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "pal8"
        for index in range(8):
            frame = av.VideoFrame(32, 24, "pal8")
            pixels, palette = frame.planes
            pixels.update(bytes([index * 20 + 1]) * pixels.buffer_size)
            palette.update((np.arange(256, dtype="<u4") * 0x00010203).tobytes())
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return str(path)


def test_off_is_off_and_reads_by_the_path(videos):
    reader = IsolatedReader(ReadingConfig(sandbox="off"), max_bad_frames_share=0.05)
    try:
        probe = reader.probe(videos["b_frames"])
        decoded = reader.decode(probe, np.array([1, 2], dtype=np.int64), size=SIZE)
    finally:
        reader.close()
    assert (reader.sandbox, decoded.sandbox) == ("off", "off")
    np.testing.assert_array_equal(
        decoded.frames, decode_stretch(probe, np.array([1, 2], dtype=np.int64), size=SIZE).frames
    )


def test_where_one_is_required_and_there_is_none_nothing_is_read(videos):
    reader = IsolatedReader(ReadingConfig(sandbox="require"), max_bad_frames_share=0.05, layers=("limits",))
    with pytest.raises(
        PipelineError, match=r"reading.sandbox=require: there is no privileges.*seccomp.*=auto"
    ) as caught:
        reader.probe(videos["b_frames"])
    assert "\n" not in caught.value.message
    assert reader.child_pid is None


def test_what_is_missing_is_said_once(videos, caplog):
    decode_child._tell_once.cache_clear()
    lack = decode_child.SandboxReport(in_force={"limits": ""}, missing={"network": "unshare: Operation not permitted"})
    for _ in range(2):
        decode_child._tell_once(lack.summary, lack.lack)
    (said,) = caplog.messages
    assert said == (
        "videos are decoded in a sandbox of limits; not to be had here: network (unshare: Operation not permitted)"
    )


def test_a_video_that_went_away_is_weather(reader, videos, tmp_path):
    gone = tmp_path / "gone.mp4"
    with pytest.raises(PipelineError, match="cannot be read") as caught:
        reader.probe(str(gone))
    assert caught.value.failure_class is FailureClass.TRANSFER
    assert reader.probe(videos["b_frames"]).num_frames == 48


def test_storage_that_fails_in_the_middle_of_a_file_is_told_from_a_broken_file(tmp_path, monkeypatch):
    path = tmp_path / "video"
    path.write_bytes(bytes(10))
    with handed_over("video", os.open(path, os.O_RDONLY)), open_file("video") as file:
        assert file.read(4) == bytes(4)

        def fail(*_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "pread", fail)
        with pytest.raises(UnreadableError, match="Input/output error"):
            file.read(4)


def test_readers_of_one_descriptor_do_not_move_each_other(tmp_path):
    path = tmp_path / "video"
    path.write_bytes(bytes(range(100)))
    descriptor = os.open(path, os.O_RDONLY)
    first, second = HandedFile(descriptor), HandedFile(descriptor)
    assert first.read(3) == bytes([0, 1, 2])
    assert second.seek(-2, os.SEEK_END) == 98
    assert first.read(2) == bytes([3, 4])
    assert second.read(9) == bytes([98, 99])
    assert second.seek(-1) < 0  # refused, as FFmpeg is told, and nothing moves
    assert second.read(1) == b""
    assert first.read() == bytes(range(5, 100))
    for file in (first, second):
        file.close()
    os.close(descriptor)


def test_decord_takes_a_small_file_into_memory_and_leaves_a_large_one_to_pyav(videos, monkeypatch):
    pytest.importorskip("decord")
    path, wanted = videos["b_frames"], np.array([1, 5], dtype=np.int64)
    probe = probe_video(path)
    expected = decode_stretch(probe, wanted, backend="decord").frames
    with handed_over(path, os.open(path, os.O_RDONLY)):
        np.testing.assert_array_equal(decode_stretch(probe, wanted, backend="decord").frames, expected)
        monkeypatch.setattr(decord_backend, "MOST_IN_MEMORY_BYTES", 10)
        with pytest.raises(PipelineError, match=r"at most 10 bytes in a sandbox \(reading.sandbox=off\)"):
            decode_stretch(probe, wanted, backend="decord")


def test_a_decoding_process_ends_up_with_an_empty_environment_and_only_what_it_was_handed(reader, videos):
    reader.probe(videos["b_frames"])
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root may look into it")
    held = {os.readlink(f"/proc/{reader.child_pid}/fd/{name}") for name in os.listdir(f"/proc/{reader.child_pid}/fd")}
    assert all(name.startswith(("/dev/null", "socket:", "/tmp")) or "(deleted)" in name for name in held), held
    assert not any(videos["b_frames"] in name for name in held)
