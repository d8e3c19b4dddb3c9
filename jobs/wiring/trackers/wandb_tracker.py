"""A run in Weights & Biases: settings as its config, the summary, and a table of answers.

Where to and as whom is said by ``wandb login`` and its own variables (``WANDB_MODE``, ``WANDB_PROJECT``, …).
"""

import os
from collections.abc import Mapping

import pyarrow as pa
import wandb
from wandb.sdk.mailbox import HandleAbandonedError

from jobs.wiring.tracking import flatten

_PROJECT = "adapttoken"
_ANSWER_S = 30.0  # of its server, at the beginning; then the run goes on without


class WandbTracker:
    """See ``Tracker``."""

    errors: tuple[type[BaseException], ...] = (wandb.Error, OSError, HandleAbandonedError)  # the last: the process ends

    def begin(self, run_id: str, settings: Mapping[str, object], origin: Mapping[str, object]) -> None:
        """A run of that name, in the project of ``WANDB_PROJECT``; its terminal is the job's own and stays so."""
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=run_id,
            config={**settings, "provenance": dict(origin)},
            settings=wandb.Settings(console="off", silent=True, init_timeout=_ANSWER_S),
        )

    def end(self, summary: Mapping[str, object], answers: pa.Table, *, is_done: bool) -> None:
        """What the summary says, and the answers as a table."""
        self._run.summary.update({name: value for name, value in flatten(summary).items() if value is not None})
        if answers.num_rows:
            rows = [list(row.values()) for row in answers.to_pylist()]
            self._run.log({"answers": wandb.Table(columns=answers.column_names, data=rows)})
        self._run.finish(exit_code=0 if is_done else 1)
