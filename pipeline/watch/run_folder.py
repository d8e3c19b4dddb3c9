"""``OUTPUT/runs/<run_id>``: what a run writes about itself. Each file is there in whole or not at all."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import yaml

from pipeline.engine.progress import Progress
from pipeline.failures import FailureClass, PipelineError
from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.results.summary import write_json_atomic
from pipeline.settings.config import RunConfig
from pipeline.settings.reading import to_dict
from pipeline.uris import StorageOptions, uri_scheme
from pipeline.watch.pace import Outlook


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
        self._written_s: float | None = None
        self._config_path: Path | None = None
        self._last: tuple[Progress, Outlook] | None = None
        self._workers = Counter[tuple[tuple[str, str], ...]]()

    def write_config(self, config: RunConfig) -> None:
        """``config.yaml``: every setting, as resolved."""
        text = yaml.safe_dump(to_dict(config), sort_keys=False)
        uri = f"{self.uri}/config.yaml"
        write_bytes_atomic(uri, text.encode(), storage_options=self._storage_options)
        if uri_scheme(uri) in ("", "file"):
            self._config_path = Path(uri.removeprefix("file://"))

    def write_json(self, name: str, content: Mapping[str, object]) -> None:
        """Another file of the run, such as ``provenance.json``."""
        write_json_atomic(f"{self.uri}/{name}", content, storage_options=self._storage_options)

    def note_progress(self, progress: Progress, outlook: Outlook) -> None:
        """``progress.json``, unless it was written a moment ago; cheap enough to call several times a second."""
        self._last = progress, outlook
        if self._written_s is None or self._now_s() - self._written_s >= self._interval_s:
            self.check_is_there()
            self._write_progress(progress, outlook)

    def note_worker(self, ways: Mapping[str, str]) -> None:
        """How a process computes that has loaded the model; whoever took another's place counts, too."""
        if ways:
            self._workers[tuple(ways.items())] += 1

    def check_is_there(self) -> None:
        """Whoever writes makes the folders that it needs, so an output that was taken away would begin anew, in part.

        Raises:
            PipelineError: ``NOT_FOUND``: ``config.yaml``, the first file of a run, is there no more. Not of S3, which
                has no folders.
        """
        if self._config_path is not None and not self._config_path.exists():
            raise PipelineError(
                FailureClass.NOT_FOUND,
                f"the output is gone: {self.uri} was there when this run began; bring the folder back (or mount it), "
                "and the same command goes on from what it holds",
            )

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """``summary.json``, with how workers computed, the most frequent way first; and the last progress.

        Raises:
            PipelineError: See ``check_is_there``.
        """
        self.check_is_there()
        workers = [{"num_workers": count, **dict(ways)} for ways, count in self._workers.most_common()]
        content = {**summary, "workers": workers}
        write_json_atomic(f"{self.uri}/summary.json", content, storage_options=self._storage_options)
        if self._last is not None:
            self._write_progress(*self._last)

    def _write_progress(self, progress: Progress, outlook: Outlook) -> None:
        self._written_s = self._now_s()
        content = describe_progress_file(progress, outlook, run_id=self._run_id, now=datetime.now(UTC))
        write_json_atomic(f"{self.uri}/progress.json", content, storage_options=self._storage_options)


def describe_progress_file(progress: Progress, outlook: Outlook, *, run_id: str, now: datetime) -> dict[str, object]:
    """What ``progress.json`` holds; docs/operations.md explains every field."""
    counts = asdict(progress)
    del counts["ended"], counts["open_share"]
    stage_seconds = {stage: round(seconds, 3) for stage, seconds in counts.pop("stage_seconds").items()}
    return {
        "run_id": run_id,
        "updated_at": now.isoformat(timespec="seconds"),
        **counts,
        **{name: None if value is None else round(value, 3) for name, value in asdict(outlook).items()},
        "stage_seconds": stage_seconds,
    }
