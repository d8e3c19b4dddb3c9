"""The main job called by a program: rows in, a table of answers out, exit codes as exceptions."""

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.wiring import start
from jobs.wiring.exit_codes import EXIT_FAILURES, EXIT_OK, EXIT_USAGE
from jobs.wiring.logs import LOG
from pipeline.counted import counted
from pipeline.manifest.reading import read_manifest
from pipeline.report.totals import list_run_ids, read_run_files
from pipeline.results.finished import read_answers
from pipeline.uris import StorageOptions, has_scheme

_INTERRUPTED = 128  # and more: by a signal


def run_manifest(
    manifest: Any, command: Sequence[str], *, output: str | None, storage_options: Mapping[str, object] | None
) -> pa.Table:
    """One row per question of the manifest, in its order; see ``adapttoken.run``.

    Args:
        manifest: an address or several, or rows.
        command: further options of ``run.py``.
        output: None: a temporary folder.
        storage_options: fsspec's.
    """
    with tempfile.TemporaryDirectory(prefix="adapttoken-") as folder:
        manifests = _addresses(manifest) or [_write_rows(manifest, Path(folder) / "manifest.parquet")]
        target = output or folder
        before = list_run_ids(target, storage_options=storage_options)
        job = ["--manifest", *manifests, "--output", target, *command]
        _run(job if storage_options is None else [*job, "--storage-options", json.dumps(storage_options)])
        own = sorted(list_run_ids(target, storage_options=storage_options) - before)[-1:]
        (run,) = read_run_files(target, own, storage_options=storage_options)
        answers = read_answers(target, storage_options=storage_options)
        return _of_manifest(answers, manifests, run, storage_options)


def _addresses(manifest: Any) -> list[str]:
    """Of files; none where it is rows."""
    several = [manifest] if isinstance(manifest, str | Path) else manifest
    is_list = isinstance(several, list | tuple) and all(isinstance(one, str | Path) for one in several)
    return [str(one) for one in several] if is_list else []


def _write_rows(rows: Any, path: Path) -> str:
    """As a manifest; a relative video is one of the working folder."""
    if isinstance(rows, pa.Table):
        table = rows
    elif hasattr(rows, "columns"):
        table = pa.Table.from_pandas(rows, preserve_index=False)
    else:
        table = pa.Table.from_pylist(list(rows))
    if "video" in table.column_names:
        videos = [_absolute(video) for video in table.column("video").to_pylist()]
        table = table.set_column(table.column_names.index("video"), "video", pa.array(videos))
    pq.write_table(table, path)
    return str(path)


def _absolute(video: Any) -> Any:
    if isinstance(video, list):
        return [_absolute(one) for one in video]
    return video if not isinstance(video, str) or not video or has_scheme(video) else str(Path(video).absolute())


def _run(command: list[str]) -> None:
    """Raises what an exit code says, with the last error of the log."""
    errors = _LastError()
    LOG.addFilter(errors)
    try:
        with redirect_stdout(io.StringIO()):
            code = start.main(command, prog="adapttoken.run")
    except SystemExit:  # argparse has said why
        raise ValueError("an option cannot be used; it stands above") from None
    finally:
        LOG.removeFilter(errors)
    if code == EXIT_USAGE:
        raise ValueError(errors.message)
    if code >= _INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (EXIT_OK, EXIT_FAILURES):
        raise RuntimeError(errors.message)


class _LastError(logging.Filter):
    """Lets all pass, and keeps the last error."""

    message = "the job failed without a word"

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            self.message = record.getMessage()
        return True


def _of_manifest(
    answers: pa.Table, manifests: Sequence[str], run: Mapping[str, Any], storage_options: StorageOptions
) -> pa.Table:
    """Answers of the run's settings to what the manifest asks; of a video that was changed meanwhile the newest."""
    order = read_manifest(manifests, storage_options=storage_options, skip_bad_rows=True).row_indices()
    newest: dict[int, tuple[Any, int]] = {}
    names = ("question_id", "config_hash", "finished_at")
    columns = (answers.column(name).to_pylist() for name in names)
    for row, (question, settings, at) in enumerate(zip(*columns, strict=True)):
        place = order.get(question)
        if place is not None and settings == run["config_hash"]:
            newest[place] = max(newest.get(place, (at, row)), (at, row))
    table = answers.take(pa.array([row for _, (_, row) in sorted(newest.items())], pa.int64()))
    num_failed = pc.sum(pc.equal(table.column("status"), "failed")).as_py() or 0
    if num_failed:
        warnings.warn(
            f"{num_failed} of {counted(len(table), 'question')} failed; see the column error_message", stacklevel=4
        )
    return table
