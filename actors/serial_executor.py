"""Runs a job in one process, with the very classes that Ray runs: for debugging, and as the reference in tests."""

import time
from collections.abc import Iterator

from actors.builders import Job, OnReady, build_decode_worker, build_model_worker, ignore
from actors.local_store import LocalStore
from actors.outcomes import VideoOutcome, check_outage, take_outcomes
from actors.span_clock import SpanClock
from actors.worker import DecodeWorker, ModelWorker
from pipeline.engine.job_state import JobState
from pipeline.engine.messages.keys import Role
from pipeline.engine.messages.work import Completion
from pipeline.engine.progress import Progress
from pipeline.results.rows import RunStamp


def run_serial(job: Job, *, on_ready: OnReady = ignore) -> Iterator[VideoOutcome | Progress]:
    """Yield finished videos as they come, and progress in between.

    Raises:
        PipelineError: The storage of the videos is away for too long.
    """
    store = LocalStore(memory_bytes=job.config.execution.frame_memory_bytes)
    state = JobState(job.tasks, config=job.config)
    decode_worker = build_decode_worker(job, store)
    workers: dict[str, DecodeWorker | ModelWorker] = {
        f"{Role.SCORER}-0": build_model_worker(job, store),
        f"{Role.DECODER}-0": decode_worker,
    }
    for worker in workers.values():
        on_ready(worker.ways)
    try:
        yield from _run(state, job.stamp, workers, SpanClock() if job.is_traced else None)
    finally:
        decode_worker.close()


def _run(
    state: JobState,
    stamp: RunStamp,
    workers: dict[str, DecodeWorker | ModelWorker],
    clock: SpanClock | None,
) -> Iterator[VideoOutcome | Progress]:
    completions: dict[str, list[Completion]] = {name: [] for name in workers}
    while not state.is_finished:
        check_outage(state.outage)
        worked = False
        for name, worker in workers.items():
            state.tell_time(time.monotonic())
            batch = state.exchange(name, completions[name])
            if clock is not None:
                clock.note_given(work.key for work in batch.work)
            worked |= bool(batch.work or completions[name])
            completions[name] = worker.run_batch(batch)
            if clock is not None:
                clock.note_done(completions[name])
            worked |= bool(completions[name])  # held back until there was nothing else to do
            state.take_cancelled()  # nothing runs beside this loop that could be broken off
            yield from take_outcomes(state, stamp, clock)
            yield state.progress
            if batch.work:
                break  # scoring first: decoding ahead would only fill memory
        if not worked and not state.is_finished:
            due_s = state.wakes_at_s
            assert due_s is not None, "there is work left, but none is handed out"
            time.sleep(max(0.0, due_s - time.monotonic()))
    yield from take_outcomes(state, stamp, clock)
    yield state.progress
