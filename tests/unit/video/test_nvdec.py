"""What of the GPU's decoder shows without a GPU: what it is not given, what it refuses, and how torch scales."""

import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from jobs.wiring import configuration
from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.config import RunConfig
from pipeline.settings.reading import apply_overrides, load_config
from pipeline.settings.sources import ReadingConfig
from pipeline.video.backends.interface import RefusedError
from pipeline.video.backends.nvdec import DeviceDecoder, refusal_of, resize_frames
from pipeline.video.decode import decode_stretch
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import probe_video
from tests.unit.video.numbered_videos import write_numbered

WANTED = np.array([0, 7], dtype=np.int64)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_without_a_gpu_it_is_refused_by_name_and_with_a_remedy(videos):
    with pytest.raises(PipelineError, match=r"nvdec needs an NVIDIA GPU.*Set sampling.decoder to 'auto'") as caught:
        decode_stretch(probe_video(videos["b_frames"]), WANTED, backend="nvdec")
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA


@pytest.mark.parametrize(
    ("is_installed", "message"),
    [(False, r"pip install 'adapttoken-ray\[torchcodec\]', or use 'auto'"), (True, "this machine shows none")],
)
def test_a_run_that_asks_for_it_does_not_start(monkeypatch, is_installed, message):
    assert load_config(RunConfig(), sets=["decoder=nvdec"]).sampling.decoder == "nvdec"
    monkeypatch.setattr(configuration, "find_spec", lambda name: object() if is_installed else None)
    with pytest.raises(ValueError, match=message):
        configuration._check_decoder("nvdec")


def test_where_it_starts_the_log_says_that_no_sandbox_holds_it(monkeypatch, caplog):
    monkeypatch.setattr(configuration, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    configuration._check_decoder("nvdec")
    assert [record.getMessage() for record in caplog.records] == [
        "sampling.decoder=nvdec: scorers decode on their GPUs, outside the sandbox (column sandbox)"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("reading.sandbox", "require"), ("frame_store.uri", "/frames"), ("execution.gpus_per_scorer", 0.0)],
)
def test_what_it_does_not_go_with_is_refused_in_one_line_that_names_both(name, value):
    with pytest.raises(ValueError, match=rf"'nvdec' does not go with {name}.*: .*; use 'auto', or change that"):
        apply_overrides(RunConfig(), {name: value, "sampling.decoder": "nvdec"})
    assert apply_overrides(RunConfig(), {name: value}) != RunConfig()


@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="the child would see the GPU")
def test_what_it_does_not_read_is_read_by_pyav(videos):
    reader = IsolatedReader(ReadingConfig(), max_bad_frames_share=0.05)
    try:
        probe = reader.probe(videos["b_frames"])
        found = reader.decode(probe, WANTED, size=(32, 40), backend="nvdec")
    finally:
        reader.close()
    assert found.decoder == "pyav"
    np.testing.assert_array_equal(found.frames, decode_stretch(probe, WANTED, size=(32, 40)).frames)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b_frames", None),
        ("open_gop", None),
        ("vfr", None),
        ("rotated", None),
        ("ten_bit", "NVDEC is given 8 bits, not 10"),
        ("ffv1", "not ffv1"),
    ],
)
def test_what_it_is_given_follows_from_the_timeline_alone(videos, name, reason):
    found = refusal_of(probe_video(videos[name]))
    assert (found is None) if reason is None else (reason in found)


class Decoder:
    """torchcodec's on ``device``, as far as it can be wrong."""

    num_frames, late_s, size, error, cpu_fallback = 24, 0.0, (96, 160), None, ""

    def __init__(self, path, *, dimension_order, device):
        self.probe = probe_video(path)

    def __len__(self):
        return self.num_frames

    def get_frames_at(self, indices):
        if self.error is not None:
            raise self.error
        times_s = self.probe.pts[indices] * float(self.probe.time_base) + self.late_s
        pictures = torch.zeros((len(indices), 3, *self.size), dtype=torch.uint8)
        return SimpleNamespace(data=pictures, pts_seconds=torch.from_numpy(times_s))


@pytest.fixture
def numbered(tmp_path):
    return probe_video(write_numbered(tmp_path / "v.mp4", num_frames=24))


def read(monkeypatch, probe, **changes):
    decoders = ModuleType("torchcodec.decoders")
    decoders.VideoDecoder, decoders.set_cuda_backend = type("VideoDecoder", (Decoder,), changes), nullcontext
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    return DeviceDecoder(probe, "cpu").read(WANTED, (48, 80))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 23}, "torchcodec counts 23 frames, the probe 24"),
        ({"late_s": 0.04}, "torchcodec presents frame 0 at 0.0400 s"),
        ({"size": (160, 96)}, r"torchcodec shows 160 x 96 pixels, the probe \(96, 160\)"),
        ({"cpu_fallback": "Video not supported"}, r"NVDEC does not read it \(Video not supported\)"),
        ({"error": RuntimeError("cuvidParseVideoData failed\n at C++")}, "NVDEC failed: cuvidParseVideoData failed$"),
    ],
)
def test_what_disagrees_with_the_probe_or_fails_is_refused(monkeypatch, numbered, changes, message):
    assert read(monkeypatch, numbered).shape == (2, 48, 80, 3)
    with pytest.raises(RefusedError, match=message):
        read(monkeypatch, numbered, **changes)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
        (RuntimeError("cuvidCreateDecoder: CUDA_ERROR_OUT_OF_MEMORY, out of memory"), MemoryError),
        (torch.AcceleratorError("device-side assert"), torch.AcceleratorError),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), RuntimeError),
    ],
)
def test_what_is_the_devices_own_trouble_is_not_the_videos(monkeypatch, numbered, error, kind):
    with pytest.raises(kind):
        read(monkeypatch, numbered, error=error)


@pytest.mark.parametrize("size", [(96, 160), (64, 96), (140, 252), (112, 84)])
def test_torch_scales_as_ffmpeg_does_within_40_db(numbered, size):
    pictures = torch.from_numpy(decode_stretch(numbered, WANTED).frames).permute(0, 3, 1, 2)
    found, expected = resize_frames(pictures, size).numpy(), decode_stretch(numbered, WANTED, size=size).frames
    assert found.shape == expected.shape
    error = np.mean((found.astype(float) - expected) ** 2)
    assert error < 65_025 / 10 ** (40 / 10)
    assert error == 0 or size != (96, 160)
