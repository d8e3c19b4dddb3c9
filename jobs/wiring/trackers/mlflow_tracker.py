"""A run in MLflow: settings as parameters, the summary as metrics, files and answers as artifacts.

Where to and as whom is said by MLflow's own variables (``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``, …).
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from pyarrow import csv

from jobs.wiring.tracking import numbers_of, texts_of

_EXPERIMENT = "adapttoken"
_AT_ONCE = 100  # parameters that the service takes in one call
_LONGEST = 500  # characters of a parameter that every version takes
_TAGS = ("package.version", "package.git_commit", "versions.torch", "versions.transformers", "versions.Ray")


class MlflowTracker:
    """See ``Tracker``; other runs that the process tracks are left alone."""

    errors: tuple[type[BaseException], ...] = (MlflowException, OSError)

    def __init__(self) -> None:
        self._client, self._run = MlflowClient(), ""

    def begin(self, run_id: str, settings: Mapping[str, object], origin: Mapping[str, object]) -> None:
        """A run of that name, in the experiment of ``MLFLOW_EXPERIMENT_NAME``."""
        tags = {"adapttoken.run_id": run_id, "mlflow.source.name": "adapttoken", **texts_of(origin, _TAGS)}
        self._run = self._client.create_run(self._find_experiment(), run_name=run_id, tags=tags).info.run_id
        params = [Param(name, str(value)[:_LONGEST]) for name, value in settings.items()]
        for start in range(0, len(params), _AT_ONCE):
            self._client.log_batch(self._run, params=params[start : start + _AT_ONCE])
        self._client.log_dict(self._run, dict(settings), "config.json")
        self._client.log_dict(self._run, dict(origin), "provenance.json")

    def end(self, summary: Mapping[str, object], answers: pa.Table, *, is_done: bool) -> None:
        """Its numbers, the summary as it is, and the answers as CSV, which MLflow's page shows as a table."""
        at = int(self._client.get_run(self._run).info.start_time)
        metrics = [Metric(name, value, at, 0) for name, value in numbers_of(summary).items()]
        tags = [RunTag(name, text) for name, text in texts_of(summary, ("method", "model", "config_hash")).items()]
        self._client.log_batch(self._run, metrics=metrics, tags=tags)
        self._client.log_text(self._run, json.dumps(summary, indent=2, ensure_ascii=False), "summary.json")
        with tempfile.TemporaryDirectory() as folder:
            csv.write_csv(answers, path := Path(folder) / "answers.csv")
            self._client.log_artifact(self._run, str(path))
        self._client.set_terminated(self._run, "FINISHED" if is_done else "FAILED")

    def _find_experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))
