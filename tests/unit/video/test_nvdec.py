"""What of the GPU's decoder shows without a GPU: chosen by name, refused with a remedy, and PyAV reads instead."""

import numpy as np
import pytest
import torch

from jobs.wiring import configuration
from pipeline.failures import FailureClass, PipelineError
from pipeline.settings.config import ReadingConfig, RunConfig
from pipeline.settings.reading import load_config
from pipeline.video.decode import decode_stretch
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import probe_video

WANTED = np.array([0, 7], dtype=np.int64)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_without_a_gpu_it_is_refused_by_name_and_with_a_remedy(videos):
    with pytest.raises(PipelineError, match=r"nvdec needs an NVIDIA GPU.*Set sampling.decoder to 'auto'") as caught:
        decode_stretch(probe_video(videos["b_frames"]), WANTED, backend="nvdec")
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA


@pytest.mark.parametrize(
    ("is_installed", "message"), [(False, "pip install torchcodec, or use 'auto'"), (True, "this machine shows none")]
)
def test_a_run_that_asks_for_it_does_not_start(monkeypatch, is_installed, message):
    assert load_config(RunConfig(), sets=["decoder=nvdec"]).sampling.decoder == "nvdec"
    monkeypatch.setattr(configuration, "find_spec", lambda name: object() if is_installed else None)
    with pytest.raises(ValueError, match=message):
        configuration._check_decoder("nvdec")


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
