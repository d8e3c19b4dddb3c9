"""Reading that nobody needs any more is broken off from another thread, and the next video gets a new process."""

import os
import shutil
import signal
import threading
import time

import pytest

from actors.decoder import DecoderActor
from actors.local_store import LocalStore
from actors.worker import DecodeWorker
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import Batch, ProbeWork
from pipeline.planning.question_check import QuestionCheck
from pipeline.results.keys import video_fingerprint
from pipeline.settings.config import RunConfig
from pipeline.settings.sources import ReadingConfig


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    spec = ArchiveSpec(num_frames=(64,), questions_per_video=1, needle_frames=(4, 8), seed=1)
    return write_archive(tmp_path_factory.mktemp("archive"), spec).parent / "videos" / "v000.mp4"


def probe_work(video, number):
    """Of a copy, whose timeline nobody knows yet."""
    uri = shutil.copy(video, video.with_name(f"copy{number}.mp4"))
    key = WorkKey(video_id=number, attempt=1, stage=Stage.PROBE)
    return ProbeWork(key=key, uri=str(uri), fingerprint=video_fingerprint(str(uri)))


def test_a_reading_that_hangs_ends_when_it_is_cancelled_and_the_next_one_succeeds(video, tmp_path):
    config = RunConfig(reading=ReadingConfig(cache_dir=str(tmp_path), decode_timeout_s=60))
    decoder = DecoderActor(
        LocalStore(memory_bytes=10**9),
        plan=lambda probe, **_: probe.duration_s,
        check=lambda questions, plan: QuestionCheck(),
        config=config,
    )
    worker = DecodeWorker(lambda: decoder)
    first, hung, later = (probe_work(video, number) for number in range(3))
    try:
        (done,) = worker.run_batch(Batch(work=(first,)))
        child = decoder._reader.child_pid
        os.kill(child, signal.SIGSTOP)
        reported = []
        thread = threading.Thread(target=lambda: reported.extend(worker.run_batch(Batch(work=(hung, later)))))
        started = time.monotonic()
        thread.start()
        time.sleep(0.2)
        assert not reported
        worker.cancel([hung.key])
        thread.join(20)
        assert time.monotonic() - started < 20
        assert [type(completion.result).__name__ for completion in reported] == ["Cancelled", "ProbeDone"]
        assert reported[1].result.plan == done.result.plan == 32.0
        assert decoder._reader.child_pid not in (None, child)
    finally:
        worker.close()
