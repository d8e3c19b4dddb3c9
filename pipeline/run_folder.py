"""``OUTPUT/runs/<run_id>``: what a run writes about itself. Each file is there in whole or not at all."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

import yaml

from pipeline.config import RunConfig
from pipeline.config_io import to_dict
from pipeline.engine.progress import Progress
from pipeline.results.summary import write_json_atomic
from pipeline.results.writer import write_bytes_atomic
from pipeline.uris import StorageOptions


class RunFolder:
    """One run's files."""

    def __init__(
        self,
        output_uri: str,
        run_id: str,
        *,
        storage_options: StorageOptions = None,
        progress_interval_s: float = 10.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write nothing yet.

        Args:
            output_uri: folder of all results.
            run_id: of this run.
            storage_options: for the file system of ``output_uri``.
            progress_interval_s: least seconds between two updates of ``progress.json``.
            now_s: a monotonic clock.
        """
        self.uri = f"{output_uri.rstrip('/')}/runs/{run_id}"
        self._run_id, self._storage_options = run_id, storage_options
        self._interval_s, self._now_s = progress_interval_s, now_s
        self._started_s = now_s()
        self._written_s: float | None = None
        self._last: Progress | None = None

    def write_config(self, config: RunConfig) -> None:
        """``config.yaml``: every setting, as resolved."""
        text = yaml.safe_dump(to_dict(config), sort_keys=False)
        write_bytes_atomic(f"{self.uri}/config.yaml", text.encode(), storage_options=self._storage_options)

    def note_progress(self, progress: Progress) -> None:
        """``progress.json``, unless it was written a moment ago; cheap enough to call several times a second."""
        self._last = progress
        if self._written_s is None or self._now_s() - self._written_s >= self._interval_s:
            self._write_progress(progress)

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """``summary.json``, and the last progress."""
        write_json_atomic(f"{self.uri}/summary.json", summary, storage_options=self._storage_options)
        if self._last is not None:
            self._write_progress(self._last)

    def _write_progress(self, progress: Progress) -> None:
        self._written_s = self._now_s()
        content = describe_progress_file(
            progress, run_id=self._run_id, elapsed_s=self._written_s - self._started_s, now=datetime.now(UTC)
        )
        write_json_atomic(f"{self.uri}/progress.json", content, storage_options=self._storage_options)


def describe_progress_file(progress: Progress, *, run_id: str, elapsed_s: float, now: datetime) -> dict[str, object]:
    """What ``progress.json`` holds: the counts, seconds since the start, and the seconds left at this rate.

    ``eta_s`` follows questions, which all videos have; null until one is done.
    """
    done, total = progress.num_questions_done, progress.num_questions
    return {
        "run_id": run_id,
        "updated_at": now.isoformat(timespec="seconds"),
        **asdict(progress),
        "elapsed_s": round(elapsed_s, 1),
        "eta_s": round(elapsed_s / done * (total - done), 1) if done else None,
    }
