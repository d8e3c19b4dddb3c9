"""What each decoding library does with a video: how much it decodes, when it seeks, and when it refuses."""

import sys
from types import ModuleType, SimpleNamespace

import av
import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.video import decode_plan
from pipeline.video.backends import interface
from pipeline.video.backends.interface import RefusedError, iter_chunks
from pipeline.video.backends.pyav_packets import GopPackets
from pipeline.video.backends.torchcodec_backend import decode_with_torchcodec
from pipeline.video.decode import decode_stretch
from pipeline.video.decode_plan import cut_stretches, frames_to_decode
from pipeline.video.opening import open_video
from pipeline.video.probe import probe_video

GOP = 12


@pytest.fixture(scope="module")
def no_reordering(write_video):
    return probe_video(write_video("in_order.mp4", b_frames=0))


@pytest.mark.parametrize("wanted", [[0], [5], [11], [0, 12, 24, 36], [3, 4, 40], list(range(48)), [47]])
def test_pyav_decodes_exactly_what_was_planned_where_frames_are_stored_in_order(no_reordering, wanted):
    (stretch,) = cut_stretches(no_reordering, np.array(wanted), num_stretches=1)
    decoded = decode_stretch(no_reordering, stretch.frame_indices, backend="pyav")
    assert decoded.num_frames_decoded == stretch.num_frames_to_decode


@pytest.mark.parametrize("wanted", [[0], [5], [11], [0, 12, 24, 36], [3, 4, 40], list(range(48)), [47]])
@pytest.mark.parametrize("name", ["b_frames", "vfr", "mkv", "rotated"])
def test_reordering_changes_what_is_decoded_by_no_more_than_its_depth_in_each_gop(videos, name, wanted):
    probe = probe_video(videos[name])
    decoded = decode_stretch(probe, np.array(wanted), backend="pyav")
    num_gops = len(set(probe.gop_of(np.array(wanted)).tolist()))
    assert abs(decoded.num_frames_decoded - frames_to_decode(probe, np.array(wanted))) <= 2 * num_gops
    if len(wanted) == probe.num_frames:
        assert decoded.num_frames_decoded == probe.num_frames


def test_a_keyframe_alone_costs_one_decoded_frame(videos):
    probe = probe_video(videos["b_frames"])
    assert decode_stretch(probe, probe.keyframe_indices, backend="pyav").num_frames_decoded == 4


@pytest.mark.parametrize("name", ["b_frames", "open_gop", "mpegts", "mkv", "avi", "edit_list", "vfr", "ffv1"])
@pytest.mark.parametrize("cost", [-1, 10_000])
def test_reading_on_and_seeking_give_the_same_frames(videos, decode_sequentially, name, cost, monkeypatch):
    monkeypatch.setattr(decode_plan, "SEEK_COST_PACKETS", cost)
    monkeypatch.setattr(decode_plan, "UNINDEXED_SEEK_COST_PACKETS", cost)
    probe = probe_video(videos[name])
    _, reference = decode_sequentially(videos[name])
    for wanted in (np.arange(probe.num_frames), np.arange(1, probe.num_frames, 9)):
        decoded = decode_stretch(probe, wanted, backend="pyav")
        assert decoded.bad_frames == ()
        np.testing.assert_array_equal(decoded.frames, reference[wanted])


class CountedSeeks:
    """An open file that counts."""

    def __init__(self, opened):
        self._opened, self.num_seeks = opened, 0

    def seek(self, *args, **kwargs):
        self.num_seeks += 1
        self._opened.seek(*args, **kwargs)

    def demux(self, stream):
        return self._opened.demux(stream)


@pytest.mark.parametrize(
    ("name", "gops", "num_taken", "num_seeks"),
    [
        ("b_frames", [0, 1, 2, 3], GOP, 0),  # the next GOP follows
        ("b_frames", [0, 1, 2, 3], GOP + 4, 0),  # read beyond its start: the packets are handed out again
        ("b_frames", [0, 1, 2, 3], 1, 3),  # 11 packets to the next GOP: a seek is cheaper
        ("b_frames", [0, 2], GOP, 1),
        ("b_frames", [2, 1], GOP, 2),  # back
        ("b_frames", [1, 1], GOP, 2),  # once more
        ("mpegts", [0, 2], GOP, 0),  # no index: reading on is cheaper
    ],
)
def test_packets_start_at_the_gop_and_a_seek_is_made_only_where_it_is_cheaper(videos, name, gops, num_taken, num_seeks):
    probe = probe_video(videos[name])
    with open_video(probe.path, probe.container) as (opened, stream):
        counted = CountedSeeks(opened)
        packets = GopPackets(counted, stream, probe)
        for gop in gops:
            last_index = int(probe.keyframe_indices[gop]) + min(num_taken, GOP) - 1
            reader = packets.read(gop, last_index=last_index)
            taken = [next(reader, None) for _ in range(num_taken)]
            found = [packet.pts for packet in taken if packet is not None]
            assert found[0] == probe.keyframe_pts[gop]
            assert len(set(found)) == len(found)
    assert counted.num_seeks == num_seeks


def test_chunks_are_bounded_by_bytes_and_hold_a_frame_at_least(monkeypatch):
    frames = np.zeros((7, 4, 5, 3), dtype=np.uint8)
    assert list(iter_chunks(frames)) == [slice(0, 7)]
    monkeypatch.setattr(interface, "CHUNK_BYTES", 3 * 60)
    assert list(iter_chunks(frames)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    monkeypatch.setattr(interface, "CHUNK_BYTES", 1)
    assert list(iter_chunks(frames)) == [slice(i, i + 1) for i in range(7)]


def load_torchcodec():
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError):
        pytest.skip("torchcodec, or the shared FFmpeg it needs, is not installed")
    return VideoDecoder


@pytest.mark.parametrize("name", ["b_frames", "odd_size", "vfr", "late_start", "mkv", "rotated", "open_gop"])
def test_torchcodec_gives_pyavs_pixels_at_the_own_size_and_close_ones_when_it_resizes(videos, name):
    load_torchcodec()
    probe = probe_video(videos[name])
    wanted = np.arange(1, probe.num_frames, 5)
    own = decode_stretch(probe, wanted, backend="torchcodec")
    assert own.decoder == "torchcodec"
    np.testing.assert_array_equal(own.frames, decode_stretch(probe, wanted, backend="pyav").frames)
    size = (probe.height * 3 // 4, probe.width * 3 // 4)
    resized = decode_stretch(probe, wanted, size=size, backend="torchcodec").frames.astype(float)
    error = np.mean((resized - decode_stretch(probe, wanted, size=size, backend="pyav").frames) ** 2)
    assert 10 * np.log10(255**2 / error) > 25


@pytest.mark.parametrize(
    ("libraries", "reason"),
    [({"torchcodec": None, "torchcodec.decoders": None}, "torchcodec cannot be loaded"), ({"decord": None}, "decord")],
)
def test_a_named_library_that_is_absent_is_unsupported_with_the_remedy(videos, monkeypatch, libraries, reason):
    for module in libraries:
        monkeypatch.setitem(sys.modules, module, None)
    named = next(iter(libraries))
    with pytest.raises(PipelineError, match=rf"{reason}.*install.*Set sampling\.decoder to 'auto' or 'pyav'") as caught:
        decode_stretch(probe_video(videos["b_frames"]), np.array([3]), backend=named)
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA


class FakeVideoDecoder:
    """Stands in for torchcodec's: same calls, frames by a plain PyAV loop; ``wrong`` says what it gets wrong."""

    wrong = ""

    def __init__(self, path, *, dimension_order, num_ffmpeg_threads, device, transforms):
        assert (dimension_order, num_ffmpeg_threads, device) == ("NHWC", 1, "cpu")
        size = transforms[0] if transforms else None
        with av.open(path) as opened:
            decoded = list(opened.decode(video=0))
        self._times_s = np.array([frame.time for frame in decoded])
        self._images = np.stack(
            [
                (frame.reformat(height=size[0], width=size[1]) if size else frame).to_ndarray(format="rgb24")
                for frame in decoded
            ]
        )

    def __len__(self):
        return len(self._images) + (self.wrong == "count")

    def get_frames_at(self, indices):
        if self.wrong == "crash":
            raise RuntimeError("Could not push packet to decoder\nbacktrace")
        times_s = self._times_s[indices] + (0.04 if self.wrong == "time" else 0.0)
        return SimpleNamespace(data=FakeTensor(self._images[indices]), pts_seconds=FakeTensor(times_s))


class FakeTensor(np.ndarray):
    def __new__(cls, array):
        return np.asarray(array).view(cls)

    def cpu(self):
        return self

    def numpy(self):
        return np.asarray(self)


@pytest.fixture
def fake_torchcodec(monkeypatch):
    decoders, transforms = ModuleType("torchcodec.decoders"), ModuleType("torchcodec.transforms")
    decoders.VideoDecoder = type("VideoDecoder", (FakeVideoDecoder,), {})
    transforms.Resize = lambda size: size
    for module in (ModuleType("torchcodec"), decoders, transforms):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return decoders.VideoDecoder


@pytest.mark.parametrize("name", ["b_frames", "late_start", "vfr"])
def test_torchcodecs_frames_are_taken_in_chunks_when_its_times_are_the_probes(
    fake_torchcodec, videos, decode_sequentially, name, monkeypatch
):
    monkeypatch.setattr(interface, "CHUNK_FRAMES", 4)
    probe = probe_video(videos[name])
    wanted = np.arange(0, 48, 3)
    frames = np.empty((len(wanted), probe.height, probe.width, 3), dtype=np.uint8)
    report = decode_with_torchcodec(probe, wanted, frames)
    assert report.num_frames_decoded == frames_to_decode(probe, wanted)
    np.testing.assert_array_equal(frames, decode_sequentially(videos[name])[1][wanted])


def test_torchcodec_is_asked_to_resize_only_when_the_size_differs(fake_torchcodec, videos):
    probe = probe_video(videos["b_frames"])
    assert decode_stretch(probe, np.array([1]), size=(28, 30), backend="torchcodec").frames.shape == (1, 28, 30, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("count", "torchcodec counts 49 frames, the probe 48"),
        ("time", r"torchcodec presents frame 3 at 0\.1600 s of the file, the probe at 0\.1200 s"),
        ("crash", "torchcodec failed: Could not push packet to decoder$"),
    ],
)
def test_torchcodec_is_refused_when_it_disagrees_or_fails(fake_torchcodec, videos, wrong, message):
    fake_torchcodec.wrong = wrong
    probe = probe_video(videos["b_frames"])
    with pytest.raises(RefusedError, match=message):
        decode_with_torchcodec(probe, np.array([3]), np.empty((1, probe.height, probe.width, 3), dtype=np.uint8))
