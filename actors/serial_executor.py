"""Runs a job in one process, with the very classes that Ray runs: for debugging, and as the reference in tests."""

from collections.abc import Iterator

from actors.builders import Job, build_decode_worker, build_model_worker
from actors.coordinator import CoordinatorActor, VideoOutcome
from actors.local_store import LocalStore
from actors.worker import DecodeWorker, ModelWorker
from pipeline.engine.dispatch import DECODER, SCORER
from pipeline.engine.messages.work import Completion
from pipeline.engine.progress import Progress


def run_serial(job: Job) -> Iterator[VideoOutcome | Progress]:
    """Yield finished videos as they come, and progress in between."""
    store = LocalStore(memory_bytes=job.config.execution.frame_memory_bytes)
    coordinator = CoordinatorActor(job.tasks, config=job.config, stamp=job.stamp)
    decode_worker = build_decode_worker(job, store)
    workers: dict[str, DecodeWorker | ModelWorker] = {
        f"{SCORER}-0": build_model_worker(job, store),
        f"{DECODER}-0": decode_worker,
    }
    try:
        yield from _run(coordinator, workers)
    finally:
        decode_worker.close()


def _run(
    coordinator: CoordinatorActor, workers: dict[str, DecodeWorker | ModelWorker]
) -> Iterator[VideoOutcome | Progress]:
    completions: dict[str, list[Completion]] = {name: [] for name in workers}
    while not coordinator.is_finished():
        worked = False
        for name, worker in workers.items():
            batch = coordinator.exchange(name, completions[name])
            worked |= bool(batch.work or completions[name])
            completions[name] = worker.run_batch(batch)
            coordinator.take_cancelled()  # nothing runs beside this loop that could be broken off
            yield from coordinator.take_outcomes()
            yield coordinator.progress()
            if batch.work:
                break  # scoring first: decoding ahead would only fill memory
        assert worked or coordinator.is_finished(), "the coordinator has work left but hands out none"
    yield from coordinator.take_outcomes()
    yield coordinator.progress()
