"""Decoders share one timeline per video; who cannot open it reads it again."""

import numpy as np
import pytest

from actors.decoder import DecoderActor
from actors.local_store import LocalStore
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import DecodeWork, ProbeWork
from pipeline.failures import FailureClass, PipelineError
from pipeline.planning.question_check import QuestionCheck
from pipeline.results.keys import video_fingerprint
from pipeline.settings.config import RunConfig
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode_plan import Stretch
from pipeline.video.slot_table import SlotTable


class LossyStore(LocalStore):
    """Everything that was stored has gone with its process; opens are counted."""

    num_opened = 0

    def get(self, ref):
        self.num_opened += 1
        raise PipelineError(FailureClass.WORKER_LOST, "gone")


class CountingStore(LocalStore):
    num_opened = 0

    def get(self, ref):
        self.num_opened += 1
        return super().get(ref)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    spec = ArchiveSpec(num_frames=(64,), questions_per_video=1, needle_frames=(4, 8), seed=1)
    return write_archive(tmp_path_factory.mktemp("archive"), spec).parent / "videos" / "v000.mp4"


def decode_work(video, probe, *, first):
    frames = np.arange(first, first + 4)
    return DecodeWork(
        key=WorkKey(video_id=0, attempt=1, stage=Stage.DECODE, index=first),
        uri=str(video),
        fingerprint=video_fingerprint(str(video)),
        probe=probe,
        stretch=Stretch(frame_indices=frames, start_gop=0, stop_gop=1, num_frames_to_decode=first + 4),
        slots=SlotTable(positions=(0,), starts=np.array([0, 4]), slots=np.arange(4), frames=frames),
        size=(28, 28),
    )


@pytest.mark.parametrize("store_class", [CountingStore, LossyStore])
def test_a_timeline_is_opened_once_per_video_and_read_again_where_it_is_gone(video, tmp_path, store_class):
    store, frames = store_class(memory_bytes=10**9), []
    config = RunConfig(reading=ReadingConfig(cache_dir=str(tmp_path)))
    decoder = DecoderActor(
        store,
        plan=lambda probe, time_range: probe.num_frames,
        check=lambda questions, plan: QuestionCheck(num_tokens=(len(questions), plan)),
        config=config,
    )
    try:
        key = WorkKey(video_id=0, attempt=1, stage=Stage.PROBE)
        probed = decoder.probe(ProbeWork(key=key, uri=str(video), fingerprint=video_fingerprint(str(video)))).result
        assert probed.plan == 64
        assert probed.check.num_tokens == (0, 64)
        for first in (0, 8):
            done = decoder.decode(decode_work(video, probed.probe, first=first)).result
            slots, rows, pixels = LocalStore.get(store, done.bundles[0])[0]
            assert (slots.tolist(), rows.tolist(), pixels.shape) == ([0, 1, 2, 3], [0, 1, 2, 3], (4, 28, 28, 3))
            frames.append(pixels)
        assert store.num_opened == 1
        assert not np.array_equal(frames[0], frames[1])
    finally:
        decoder.close()


def test_another_version_than_the_planned_one_is_not_answered_under_its_key(video, tmp_path):
    copy = tmp_path / "v.mp4"
    copy.write_bytes(video.read_bytes())
    key = WorkKey(video_id=0, attempt=1, stage=Stage.PROBE)
    work = ProbeWork(key=key, uri=str(copy), fingerprint=video_fingerprint(str(copy)))
    decoder = DecoderActor(
        LocalStore(memory_bytes=10**9),
        plan=lambda probe, time_range: probe.num_frames,
        check=lambda questions, plan: QuestionCheck(num_tokens=()),
        config=RunConfig(reading=ReadingConfig(cache_dir=str(tmp_path))),
    )
    try:
        assert decoder.probe(work).result.plan == 64
        copy.write_bytes(video.read_bytes() + b"more")
        with pytest.raises(PipelineError, match=r"v\.mp4 was replaced since this run was planned") as caught:
            decoder.probe(work)
        assert caught.value.failure_class is FailureClass.TRANSFER
    finally:
        decoder.close()
