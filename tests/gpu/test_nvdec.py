"""The GPU's decoder against the CPU's: the same frames, close pixels, on the device. Needs torchcodec with CUDA."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.passes.whole_video import answer_video
from pipeline.video.backends.nvdec import DeviceDecoder
from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video
from tests.cuda_on_cpu.passes import CONFIG, build_model
from tests.unit.video.numbered_videos import read_number, write_numbered
from tests.unit.video.odd_videos import make_odd_video

pytestmark = pytest.mark.gpu
SIZE = (96, 160)


@pytest.fixture
def probe(tmp_path):
    return probe_video(write_numbered(tmp_path / "v.mp4", num_frames=60, width=320, height=192))


def is_close(found, expected):
    """Within 40 dB."""
    return np.mean((found.astype(float) - expected) ** 2) < 65_025 / 10 ** (40 / 10)


def test_nvdec_shows_the_frames_that_the_cpu_shows(probe):
    wanted = np.arange(0, 60, 7, dtype=np.int64)
    found = decode_stretch(probe, wanted, size=SIZE, backend="nvdec")
    assert found.decoder == "nvdec"
    assert [read_number(frame) for frame in found.frames] == wanted.tolist()
    assert is_close(found.frames, decode_stretch(probe, wanted, size=SIZE).frames)


def test_frames_are_on_the_device_and_the_same_whatever_else_is_read(probe):
    wanted = np.arange(0, 60, 7, dtype=np.int64)
    decoder = DeviceDecoder(probe, "cuda:0")
    frames = decoder.read(wanted, SIZE)
    assert (frames.device, frames.dtype, frames.shape) == (
        torch.device("cuda", 0),
        torch.uint8,
        (len(wanted), *SIZE, 3),
    )
    for row in (5, 2):
        assert torch.equal(decoder.read(wanted[row : row + 1], SIZE)[0], frames[row])
        assert torch.equal(DeviceDecoder(probe, "cuda:0").read(wanted[row : row + 1], SIZE)[0], frames[row])


def test_a_turned_picture_is_upright(tmp_path):
    probe = probe_video(make_odd_video("rotated", tmp_path))
    assert probe.rotation in (90, 270)
    wanted = np.array([0, 9])
    found = DeviceDecoder(probe, "cuda:0").read(wanted, (probe.height, probe.width)).cpu().numpy()
    assert is_close(found, decode_stretch(probe, wanted).frames)


def test_a_video_is_answered_from_frames_that_stay_on_the_device(probe):
    model = build_model("qwen2_5_vl", dtype=torch.float32, place=lambda stock: stock.to("cuda:0"))
    asked = [("What color is the circle ?", ("red", "blue"))]
    sampling = replace(CONFIG.sampling, sample_fps=25.0, min_pixels=2_000, max_pixels=30_000)
    answers = {
        decoder: answer_video(
            probe.path, asked, model=model, config=replace(CONFIG, sampling=replace(sampling, decoder=decoder))
        )[0]
        for decoder in ("auto", "nvdec")
    }
    assert answers["nvdec"].answer in ("A", "B")
    assert answers["nvdec"].entropy == pytest.approx(answers["auto"].entropy, abs=0.02)
