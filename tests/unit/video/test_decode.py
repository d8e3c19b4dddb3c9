import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.backends import interface, registry
from pipeline.video.backends.interface import DecodeReport, RefusedError
from pipeline.video.decode import check_bad_share, decode_stretch
from pipeline.video.decode_plan import cut_stretches
from pipeline.video.probe import probe_video

EIGHT_BIT = [
    "b_frames",
    "odd_size",
    "vfr",
    "late_start",
    "late_start_mkv",
    "mkv",
    "mpegts",
    "avi",
    "flv",
    "rotated",
    "open_gop",
    "ffv1",
    "edit_list",
]
TRUSTED = ["b_frames", "odd_size", "vfr", "late_start", "late_start_mkv", "mkv", "flv", "rotated"]
REFUSED = {
    "mpegts": "MPEG-TS",
    "edit_list": "decord counts 36 frames, the probe 30",
    "avi": "decord presents frame 1",
    "open_gop": "keyframes are not the probe's",
    "ten_bit": "10-bit",
}


def psnr_db(left, right):
    error = np.mean((left.astype(np.float64) - right) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("backend", ["auto", "pyav"])
@pytest.mark.parametrize("name", EIGHT_BIT)
def test_random_frames_equal_a_sequential_decode(videos, decode_sequentially, name, backend):
    probe = probe_video(videos[name])
    _, reference = decode_sequentially(videos[name])
    rng = np.random.default_rng(0)
    for count in (1, 5, probe.num_frames):
        wanted = np.sort(rng.choice(probe.num_frames, count, replace=False))
        decoded = decode_stretch(probe, wanted, backend=backend)
        assert decoded.bad_frames == ()
        np.testing.assert_array_equal(decoded.frames, reference[wanted])


def test_ten_bit_frames_are_the_right_ones_up_to_rounding(videos, decode_sequentially):
    probe = probe_video(videos["ten_bit"])
    _, reference = decode_sequentially(videos["ten_bit"])
    wanted = np.array([0, 7, 13, 47])
    decoded = decode_stretch(probe, wanted)
    nearest = [int(np.argmax([psnr_db(frame, other) for other in reference])) for frame in decoded.frames]
    assert nearest == wanted.tolist()


@pytest.mark.parametrize("size", [(28, 56), (84, 112)])
@pytest.mark.parametrize("name", TRUSTED)
def test_decord_and_pyav_give_the_same_pixels_when_they_resize(videos, name, size):
    pytest.importorskip("decord")
    probe = probe_video(videos[name])
    wanted = np.arange(1, probe.num_frames, 7)
    by_decord = decode_stretch(probe, wanted, size=size, backend="decord")
    by_pyav = decode_stretch(probe, wanted, size=size, backend="pyav")
    assert (by_decord.decoder, by_pyav.decoder) == ("decord", "pyav")
    assert by_decord.frames.shape == (len(wanted), *size, 3)
    np.testing.assert_array_equal(by_decord.frames, by_pyav.frames)


@pytest.mark.parametrize("name", ["b_frames", "rotated"])
def test_a_resized_frame_looks_like_an_independent_resize(videos, decode_sequentially, name):
    from PIL import Image

    probe = probe_video(videos[name])
    _, reference = decode_sequentially(videos[name])
    half = (probe.height // 2, probe.width // 2)
    decoded = decode_stretch(probe, np.array([5]), size=half)
    expected = np.asarray(Image.fromarray(reference[5]).resize((half[1], half[0]), Image.Resampling.BILINEAR))
    smooth = np.s_[4:12, 4:12]  # away from the wrap-around edges of the gradient
    assert psnr_db(decoded.frames[0][smooth], expected[smooth]) > 30


def test_auto_reads_with_pyav_which_refuses_nothing_and_is_never_slower(videos):
    assert registry.AUTO_ORDER == ("pyav",)
    assert decode_stretch(probe_video(videos["b_frames"]), np.array([3])).decoder == "pyav"


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_decord_is_refused_where_it_is_known_to_be_wrong_and_the_next_in_order_reads(videos, name, reason, monkeypatch):
    pytest.importorskip("decord")
    probe = probe_video(videos[name])
    with pytest.raises(PipelineError, match=rf"{reason}.*Set sampling\.decoder to 'auto' or 'pyav'") as caught:
        decode_stretch(probe, np.array([3]), backend="decord")
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA
    monkeypatch.setattr(registry, "AUTO_ORDER", ("decord", "pyav"))
    assert decode_stretch(probe, np.array([3])).decoder == "pyav"
    assert decode_stretch(probe_video(videos["b_frames"]), np.array([3])).decoder == "decord"


@pytest.mark.parametrize("backend", ["auto", "pyav", "decord"])
def test_frames_are_written_into_the_array_that_was_given_and_nowhere_else(videos, backend):
    pytest.importorskip("decord")
    probe = probe_video(videos["b_frames"])
    wanted = np.array([0, 5, 30])
    memory = np.full((5, 28, 56, 3), 9, dtype=np.uint8)
    decoded = decode_stretch(probe, wanted, size=(28, 56), backend=backend, out=memory[1:4])
    assert np.shares_memory(decoded.frames, memory)
    np.testing.assert_array_equal(memory[1:4], decode_stretch(probe, wanted, size=(28, 56), backend="pyav").frames)
    assert (memory[[0, 4]] == 9).all()


def test_what_a_refusing_library_wrote_is_overwritten_by_the_next(videos, monkeypatch):
    def scribble_and_refuse(probe, frame_indices, frames) -> DecodeReport:
        frames[:] = 77
        raise RefusedError("broke off")

    monkeypatch.setitem(registry.BACKENDS, "decord", scribble_and_refuse)
    monkeypatch.setattr(registry, "AUTO_ORDER", ("decord", "pyav"))
    probe = probe_video(videos["b_frames"])
    memory = np.empty((2, 28, 28, 3), dtype=np.uint8)
    decode_stretch(probe, np.array([1, 40]), size=(28, 28), out=memory)
    expected = decode_stretch(probe, np.array([1, 40]), size=(28, 28), backend="pyav").frames
    np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize(
    "out",
    [
        np.empty((1, 28, 28, 3), dtype=np.uint8),
        np.empty((2, 28, 56, 3), dtype=np.uint8),
        np.empty((2, 28, 28, 3), dtype=np.int8),
        np.frombuffer(bytes(2 * 28 * 28 * 3), dtype=np.uint8).reshape(2, 28, 28, 3),
    ],
)
def test_an_array_of_another_shape_or_type_or_read_only_is_refused(videos, out):
    with pytest.raises(ValueError, match=r"out must be a writable uint8 array of shape \(2, 28, 28, 3\)"):
        decode_stretch(probe_video(videos["b_frames"]), np.array([1, 2]), size=(28, 28), out=out)


def test_an_unknown_library_is_named_with_those_that_exist(videos):
    with pytest.raises(ValueError, match="'auto' or one of decord, nvdec, pyav, torchcodec, got 'opencv'"):
        decode_stretch(probe_video(videos["b_frames"]), np.array([1]), backend="opencv")


@pytest.mark.parametrize("backend", ["auto", "pyav"])
@pytest.mark.parametrize("name", ["b_frames", "open_gop", "mpegts", "edit_list", "damaged"])
def test_one_two_or_three_stretches_give_the_same_pixels(videos, damaged_video, name, backend):
    probe = probe_video(damaged_video if name == "damaged" else videos[name])
    wanted = np.arange(0, probe.num_frames, 2)
    whole = decode_stretch(probe, wanted, size=(28, 28), backend=backend)
    for num_stretches in (2, 3):
        stretches = cut_stretches(probe, wanted, num_stretches=num_stretches)
        assert len(stretches) == num_stretches
        pieces = [decode_stretch(probe, s.frame_indices, size=(28, 28), backend=backend).frames for s in stretches]
        np.testing.assert_array_equal(np.concatenate(pieces), whole.frames)


def test_a_damaged_frame_is_reported_and_shows_its_earlier_neighbour(damaged_video, decode_sequentially):
    probe = probe_video(damaged_video)
    pts, reference = decode_sequentially(damaged_video)
    lost = [index for index, tick in enumerate(probe.pts.tolist()) if tick not in pts]
    assert len(lost) == 1
    decoded = decode_stretch(probe, np.arange(probe.num_frames))
    assert decoded.decoder == "pyav"
    assert decoded.bad_frames == tuple(lost)
    shown = [pts.index(int(probe.pts[i])) if i not in lost else pts.index(int(probe.pts[i - 1])) for i in range(48)]
    np.testing.assert_array_equal(decoded.frames, reference[shown])


def test_the_substitute_of_a_damaged_frame_does_not_depend_on_what_else_is_wanted(damaged_video):
    probe = probe_video(damaged_video)
    everything = decode_stretch(probe, np.arange(probe.num_frames))
    (lost,) = everything.bad_frames
    alone = decode_stretch(probe, np.array([lost]))
    assert alone.bad_frames == (0,)
    np.testing.assert_array_equal(alone.frames[0], everything.frames[lost])


def test_long_requests_are_read_in_chunks(videos, monkeypatch, decode_sequentially):
    pytest.importorskip("decord")
    monkeypatch.setattr(interface, "CHUNK_FRAMES", 5)
    probe = probe_video(videos["b_frames"])
    decoded = decode_stretch(probe, np.arange(0, 48, 3), backend="decord")
    np.testing.assert_array_equal(decoded.frames, decode_sequentially(videos["b_frames"])[1][::3])


@pytest.mark.parametrize("backend", ["auto", "pyav"])
def test_a_file_that_vanished_or_broke_after_the_probe_is_corrupt(write_video, backend):
    path = write_video(f"breaks_{backend}.mp4")
    probe = probe_video(path)
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(PipelineError, match="cannot be decoded") as caught:
        decode_stretch(probe, np.array([0]), backend=backend)
    assert caught.value.failure_class is FailureClass.CORRUPT_MEDIA


@pytest.mark.parametrize("frame_indices", [[], [3, 2], [3, 3], [-1, 2], [47, 48]])
def test_bad_frame_indices_are_refused(videos, frame_indices):
    with pytest.raises(ValueError, match=r"ascending, unique and within \[0, 48\)"):
        decode_stretch(probe_video(videos["b_frames"]), np.array(frame_indices, dtype=np.int64))


def test_the_bad_share_counts_for_the_whole_video(videos):
    probe = probe_video(videos["b_frames"])
    check_bad_share(probe, num_bad=5, num_wanted=100, max_bad_frames_share=0.05)
    with pytest.raises(PipelineError, match="6 of 100 wanted frames") as caught:
        check_bad_share(probe, num_bad=6, num_wanted=100, max_bad_frames_share=0.05)
    assert caught.value.failure_class is FailureClass.CORRUPT_MEDIA
