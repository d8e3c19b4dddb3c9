"""The GPU's decoder against the CPU's: the same frames, close pixels. Needs torchcodec with CUDA."""

import numpy as np
import pytest

from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video
from tests.unit.video.numbered_videos import read_number, write_numbered

pytestmark = pytest.mark.gpu


def test_nvdec_shows_the_frames_that_the_cpu_shows(tmp_path):
    probe = probe_video(write_numbered(tmp_path / "v.mp4", num_frames=60, width=320, height=192))
    wanted = np.arange(0, 60, 7, dtype=np.int64)
    found = decode_stretch(probe, wanted, size=(96, 160), backend="nvdec")
    expected = decode_stretch(probe, wanted, size=(96, 160))
    assert found.decoder == "nvdec"
    assert [read_number(frame) for frame in found.frames] == wanted.tolist()
    error = np.mean((found.frames.astype(float) - expected.frames) ** 2)
    assert error < 65_025 / 10 ** (40 / 10)
