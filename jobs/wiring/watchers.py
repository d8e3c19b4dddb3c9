"""Who else is told about a run: a tracker (``--track``), a collector of spans (``--otel``), or nobody."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jobs.wiring.extras import check_extra
from jobs.wiring.tracking import Tracking, start_tracking

if TYPE_CHECKING:
    import pyarrow as pa

    from actors.outcomes import VideoOutcome
    from jobs.wiring.preparation import PreparedRun
    from jobs.wiring.tracing import JobTrace


class Watchers:
    """Both, and each only where it was asked for."""

    def __init__(self, tracking: Tracking, trace: "JobTrace | None") -> None:
        self._tracking, self._trace = tracking, trace

    def note_rows(self, answers: "pa.Table") -> None:
        """Rows were committed."""
        self._tracking.note(answers)

    def note_video(self, outcome: "VideoOutcome") -> None:
        """A video has ended."""
        if self._trace is not None:
            self._trace.note(outcome)

    def end(self, summary: Mapping[str, object]) -> None:
        """The run has ended; takes a minute at most."""
        if self._trace is not None:
            self._trace.end(summary)
        self._tracking.end(summary)


def check_watchers(options: argparse.Namespace) -> None:
    """Refuse one whose library is not installed.

    Raises:
        ValueError: Says what to type.
    """
    for name in (options.track, "otel" if options.otel else None):
        if name is not None:
            check_extra(name)


def start_watchers(run: "PreparedRun", options: argparse.Namespace, origin: Mapping[str, object]) -> Watchers:
    """Tell them that a run begins.

    Args:
        run: what will be done.
        options: as parsed.
        origin: what ``provenance.json`` says.

    Raises:
        ValueError: OpenTelemetry's variables name an exporter that is not installed.
    """
    from pipeline.settings.reading import to_dict

    trace = _start_trace(run) if options.otel else None
    tracking = start_tracking(options.track)
    tracking.begin(run.stamp.run_id, settings=to_dict(run.config), origin=origin)
    return Watchers(tracking, trace)


def _start_trace(run: "PreparedRun") -> "JobTrace":
    from jobs.wiring.tracing import JobTrace

    stamp = run.stamp
    attributes = {
        **{"run_id": stamp.run_id, "method": stamp.method, "model": stamp.model, "config_hash": stamp.config_hash},
        "model_revision": stamp.model_revision,
    }
    return JobTrace(stamp.run_id, attributes, started_at=run.started_at)
