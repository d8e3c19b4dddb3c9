"""A run told to MLflow or Weights & Biases, beside its own files: whatever becomes of that, the job goes on."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from jobs.wiring.logs import LOG
from pipeline.uris import redact_text

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 10_000
"""Of the table of answers: trackers are no place for a million rows, which are in the output."""

END_S, INTERRUPTED_END_S = 60.0, 5.0
_INTERRUPTED = 128  # and more: by a signal, after which a scheduler waits half a minute
_COLUMNS = (
    *("question_id", "video", "question", "answer", "answer_text", "status", "error_class", "error_message"),
    *("answer_entropy", "num_groups", "num_groups_scored", "num_tokens_kept", "stop_reason", "attempts", "total_s"),
)


class Tracker(Protocol):
    """One service; its methods are called in one thread, in this order.

    Attributes:
        errors: what its library raises where the service is away or refuses: warnings.
    """

    errors: tuple[type[BaseException], ...]

    def begin(self, run_id: str, settings: Mapping[str, object], origin: Mapping[str, object]) -> None:
        """A run has begun: flat settings by dotted name, and what ``provenance.json`` says."""
        ...

    def end(self, summary: Mapping[str, object], answers: "pa.Table", *, is_done: bool) -> None:
        """It has ended, with what ``summary.json`` says and the first ``MOST_ROWS`` answers, few columns of each."""
        ...


class Tracking:
    """One run and its tracker, if any, in a thread of its own, which never keeps the job from going on or ending."""

    def __init__(self, build: Callable[[], Tracker] | None, *, name: str = "") -> None:
        """``build`` imports the library; None: nothing is tracked, at no cost."""
        self._build, self._name = build, name
        self._tables: list[pa.Table] = []
        self._num_rows, self._is_given_up = 0, False
        self._orders: queue.SimpleQueue[Callable[[Tracker], None] | None] = queue.SimpleQueue()
        self._is_over = threading.Event()

    def begin(self, run_id: str, *, settings: Mapping[str, object], origin: Mapping[str, object]) -> None:
        """Say in the background that a run has begun."""
        if self._build is not None:
            told, made = flatten(settings), dict(origin)
            self._orders.put(lambda tracker: tracker.begin(run_id, told, made))
            threading.Thread(target=self._work, name="tracking", daemon=True).start()

    def note(self, answers: "pa.Table") -> None:
        """Rows were committed."""
        if self._build is not None and self._num_rows < MOST_ROWS:
            found = answers.select([name for name in _COLUMNS if name in answers.column_names])
            self._tables.append(found.slice(0, MOST_ROWS - self._num_rows))
            self._num_rows += self._tables[-1].num_rows

    def end(self, summary: Mapping[str, object], *, limit_s: float = END_S) -> None:
        """Say how it ended, and wait for that, but not for long."""
        if self._build is None:
            return
        import pyarrow as pa

        code = summary["exit_code"]
        assert isinstance(code, int)
        table = pa.concat_tables(self._tables) if self._tables else pa.table({})
        self._orders.put(lambda tracker: tracker.end(summary, table, is_done=code in (0, 3)))
        self._orders.put(None)
        if not self._is_over.wait(INTERRUPTED_END_S if code >= _INTERRUPTED else limit_s):
            self._is_given_up = True
            LOG.warning("--track %s: no answer in time, so the run is not tracked to its end", self._name)

    def _work(self) -> None:
        """What is no error of the service is a bug: its traceback is shown, and the job goes on all the same."""
        assert self._build is not None
        try:
            tracker = self._build()
            try:
                while (order := self._orders.get()) is not None:
                    order(tracker)
            except tracker.errors as error:
                if self._is_given_up:
                    return
                first = next(iter(redact_text(str(error)).splitlines()), "")
                LOG.warning("--track %s: %s: %.300s; the run goes on without", self._name, type(error).__name__, first)
        finally:
            self._is_over.set()


def start_tracking(name: str | None) -> Tracking:
    """By a tracker of ``TRACKERS``, whose library is installed; None: by none."""
    return Tracking(_BUILD[name], name=name) if name else Tracking(None)


def _mlflow() -> Tracker:
    from jobs.wiring.trackers.mlflow_tracker import MlflowTracker

    return MlflowTracker()


def _wandb() -> Tracker:
    from jobs.wiring.trackers.wandb_tracker import WandbTracker

    return WandbTracker()


_BUILD: Mapping[str, Callable[[], Tracker]] = {"mlflow": _mlflow, "wandb": _wandb}
TRACKERS = tuple(_BUILD)


def flatten(content: Mapping[str, object], before: str = "") -> dict[str, object]:
    """``{"a": {"b": 1}} -> {"a.b": 1}``; lists stay as they are."""
    found: dict[str, object] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found.update(flatten(value, f"{before}{name}."))
        else:
            found[f"{before}{name}"] = value
    return found


def numbers_of(summary: Mapping[str, object]) -> dict[str, float]:
    """What can be drawn as a curve: numbers by dotted name."""
    found = {}
    for name, value in flatten(summary).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = float(value)
    return found


def texts_of(content: Mapping[str, object], names: Sequence[str]) -> dict[str, str]:
    """Some of the flat names, as text; what is not known is left out."""
    flat = flatten(content)
    return {name: str(flat[name]) for name in names if flat.get(name) is not None}
