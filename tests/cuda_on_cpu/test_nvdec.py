"""The whole worker with ``sampling.decoder=nvdec``: frames appear on the simulated GPU, and none is ever copied.

In NVDEC's place a stand-in reads with PyAV and leaves its frames on the device, as torchcodec does; the rest is the
product's own: decoder, recipes, sessions, scorer, coordinator.
"""

import sys
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import cache, partial
from types import ModuleType, SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch

from actors.decoder import DecoderActor
from pipeline.failures import FailureClass, PipelineError
from pipeline.method.selectors.registry import get_selector
from pipeline.passes import device_frames
from pipeline.passes.whole_video import answer_video
from pipeline.planning.question_check import check_questions
from pipeline.planning.video_plan import plan_video
from pipeline.planning.video_warnings import NVDEC_WARNING
from pipeline.results.keys import video_fingerprint
from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video
from tests.cuda_on_cpu import worker_job
from tests.cuda_on_cpu.allowed_waits import compare_waits, counted_units
from tests.cuda_on_cpu.copies import Copies
from tests.cuda_on_cpu.processes import Hardware, Processes, cpu_model
from tests.cuda_on_cpu.test_worker import close
from tests.cuda_on_cpu.worker_job import run_job
from tests.unit.video.numbered_videos import write_numbered

HARDWARE = Hardware(family="qwen2_5_vl")
WIDTH, HEIGHT = 168, 140  # what the model is shown
ASK = (("What color is the circle ?", ("red", "blue")), ("Which one ?", None))
CONFIG = replace(worker_job.CONFIG, sampling=replace(worker_job.CONFIG.sampling, sample_fps=25.0))
ON_DEVICE = replace(CONFIG, sampling=replace(CONFIG.sampling, decoder="nvdec"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two of them, one of other pixels than the model is shown; three groups and two."""
    folder = tmp_path_factory.mktemp("videos")
    same = write_numbered(folder / "same.mp4", num_frames=24, width=WIDTH, height=HEIGHT)
    other = write_numbered(folder / "other.mp4", num_frames=12, width=WIDTH, height=HEIGHT, first=5)
    return str(same), str(other)


class AtOnce:
    """A pool of threads without threads: the simulated device has one."""

    def __init__(self, count):
        pass

    def apply_async(self, run, args):
        try:
            value = run(*args)
        except (PipelineError, RuntimeError) as error:
            return SimpleNamespace(get=mock.Mock(side_effect=error), ready=lambda: True, successful=lambda: False)
        return SimpleNamespace(get=lambda timeout_s: value, ready=lambda: True, successful=lambda: True)

    def terminate(self):
        pass


class FakeVideoDecoder:
    """``torchcodec.decoders.VideoDecoder`` on a device; ``fails`` says of some frames that they cannot be read."""

    fails = staticmethod(lambda path, indices: False)
    machine = None
    opened = ()
    is_fallback = False

    def __init__(self, path, *, dimension_order, device):
        assert dimension_order == "NCHW"
        self._probe, self._device, self.cpu_fallback = probe_video(path), torch.device(device), self.is_fallback
        self.opened.append(path)  # a list of each class

    def __len__(self):
        return self._probe.num_frames

    def get_frames_at(self, indices):
        if self.fails(self._probe.path, indices):
            raise RuntimeError("Could not decode\nat some place in C++")
        frames = decode_stretch(self._probe, np.array(indices)).frames.transpose(0, 3, 1, 2).copy()
        times_s = self._probe.pts[indices] * float(self._probe.time_base)
        on_device = self.machine.place(torch.from_numpy(frames), self._device)
        return SimpleNamespace(data=on_device, pts_seconds=torch.from_numpy(times_s))


@contextmanager
def torchcodec(**changes):
    decoders = ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = type("VideoDecoder", (FakeVideoDecoder,), {"opened": [], **changes})
    decoders.set_cuda_backend = nullcontext
    modules = {"torchcodec": ModuleType("torchcodec"), "torchcodec.decoders": decoders}
    with mock.patch.dict(sys.modules, modules), mock.patch.object(device_frames, "ThreadPool", AtOnce):
        yield decoders.VideoDecoder


def make_decoder(store, config, model, made):
    """The product's own, in place of ``NumberVideos``."""
    actor = DecoderActor(
        store,
        plan=partial(plan_video, layout=model.layout, selector=get_selector(config.method), config=config),
        check=partial(check_questions, tokenizer=model._questions, layout=model.layout, config=config),
        config=config,
    )
    made.append(actor)
    return actor


@contextmanager
def real_videos():
    """Jobs read files."""
    made, make_tasks = [], worker_job.make_tasks

    def tasks(asked):
        return [replace(task, fingerprint=video_fingerprint(task.uri)) for task in make_tasks(asked)]

    with (
        mock.patch.object(worker_job, "NumberVideos", partial(make_decoder, made=made)),
        mock.patch.object(worker_job, "make_tasks", tasks),
    ):
        yield
    for actor in made:
        actor.close()


@contextmanager
def watched_copies():
    """Bytes of pixels that were copied between host and device."""
    copied = []

    def watching(name):
        real = getattr(Copies, name)

        def run(self, source, *args, **kwargs):
            copied.append(source.numel() if source.dtype is torch.uint8 else 0)
            return real(self, source, *args, **kwargs)

        return mock.patch.object(Copies, name, run)

    with watching("_upload"), watching("_download"):
        yield copied


def run_on_gpu(config, videos, **changes):
    """Rows, machine, pixels copied, the class of decoders."""
    with real_videos(), torchcodec(**changes) as decoder, watched_copies() as copied:
        processes = Processes(hardware=HARDWARE, prepare=lambda number, machine: setattr(decoder, "machine", machine))
        run = run_job(cpu_model("qwen2_5_vl", torch.float32), processes.on_gpus, config=config, asked=_about(videos))
    assert run.lost == []
    return run, processes.machines[0], sum(copied), decoder


def _about(videos):
    return [(video, text, options) for video in videos for text, options in ASK]


@cache
def on_the_cpu(videos):
    with real_videos(), counted_units() as units:
        run = run_job(
            cpu_model("qwen2_5_vl", torch.float32),
            Processes(hardware=HARDWARE).on_the_cpu,
            config=CONFIG,
            asked=_about(videos),
        )
    return run.rows, dict(units)


OF_WHO_READS = ("decoder", "sandbox", "warnings")


def pixels_of(rows):
    """Rows but for who read the frames."""
    return [{name: value for name, value in row.items() if name not in OF_WHO_READS} for row in rows]


def test_rows_are_those_of_the_cpu_no_pixel_is_copied_and_the_host_waits_for_nothing_more(videos):
    expected, units = on_the_cpu(videos)
    run, machine, num_copied, decoder = run_on_gpu(ON_DEVICE, videos)
    assert [row["status"] for row in run.rows] == ["ok"] * 4
    assert all(map(close, pixels_of(run.rows), pixels_of(expected)))
    assert {(row["decoder"], row["sandbox"]) for row in run.rows} == {("nvdec", "off (nvdec in the scorer's process)")}
    assert all(NVDEC_WARNING in row["warnings"] for row in run.rows)
    assert not any(NVDEC_WARNING in row["warnings"] for row in expected)
    assert machine.journal.faults == []
    assert compare_waits(machine.journal, units, num_devices=1) == []
    assert num_copied == 0
    assert sorted(decoder.opened) == sorted(videos)  # each is opened once for all its groups


def test_frames_that_a_decoder_process_reads_are_copied(videos):
    run, _, num_copied, decoder = run_on_gpu(CONFIG, videos[1:])
    assert {row["status"] for row in run.rows} == {"ok"}
    assert num_copied == 12 * WIDTH * HEIGHT * 3
    assert decoder.opened == []


def test_what_nvdec_gives_up_midway_a_child_process_reads_and_the_rows_say_so(videos):
    def fails(path, indices):
        return path == videos[0] and 9 in indices

    expected, _ = on_the_cpu(videos)
    run, machine, num_copied, _ = run_on_gpu(ON_DEVICE, videos, fails=staticmethod(fails))
    assert all(map(close, pixels_of(run.rows), pixels_of(expected)))
    assert machine.journal.faults == []
    by_video = {row["video"]: (row["decoder"], "seccomp" in row["sandbox"]) for row in run.rows}
    assert by_video == {videos[0]: ("pyav", True), videos[1]: ("nvdec", False)}
    assert num_copied == 24 * WIDTH * HEIGHT * 3


def test_one_video_through_the_python_api_gives_the_answers_of_the_cpu(videos):
    def answers(model, config):
        found = answer_video(videos[0], [(text, options) for text, options in ASK], model=model, config=config)
        return [(one.answer, one.entropy, [asdict(span) for span in one.evidence]) for one in found]

    expected = answers(cpu_model("qwen2_5_vl", torch.float32), CONFIG)
    processes = Processes(hardware=HARDWARE)
    with torchcodec() as decoder, processes.on_gpus(0) as model, watched_copies() as copied:
        decoder.machine = processes.machines[0]
        found = answers(model, ON_DEVICE)
    assert all(map(close, found, expected))
    assert sum(copied) == 0
    assert processes.machines[0].journal.faults == []
    with pytest.raises(PipelineError, match=r"'nvdec' needs the model on a GPU, it is on cpu; use 'auto'"):
        answers(cpu_model("qwen2_5_vl", torch.float32), ON_DEVICE)


@pytest.mark.slow
def test_what_torchcodec_would_decode_on_the_cpu_in_the_scorers_process_it_does_not(videos):
    run, _, _, _ = run_on_gpu(ON_DEVICE, videos[1:], is_fallback=True)
    assert {row["decoder"] for row in run.rows} == {"pyav"}
    assert all("seccomp" in row["sandbox"] for row in run.rows)


def test_a_video_that_nobody_can_read_fails_alone_as_what_it_is_and_not_the_scorer(videos):
    broken = PipelineError(FailureClass.CORRUPT_MEDIA, "it cannot be read")
    with mock.patch.object(device_frames.IsolatedReader, "decode", side_effect=broken):
        run, _, _, _ = run_on_gpu(ON_DEVICE, videos, fails=staticmethod(lambda path, indices: path == videos[0]))
    failed, others = ([row for row in run.rows if row["video"] == video] for video in videos)
    assert {(row["status"], row["error_class"], row["error_message"]) for row in failed} == {
        ("failed", "corrupt_media", "it cannot be read")
    }
    assert {row["status"] for row in others} == {"ok"}
