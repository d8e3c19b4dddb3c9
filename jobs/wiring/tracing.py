"""A run as OpenTelemetry spans: job → video → stage. All are made here, in the driver, from what coordinators noted.

The standard variables say where they go: ``OTEL_TRACES_EXPORTER`` (default ``otlp``; ``console``, ``none``),
``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, …; ``TRACEPARENT`` makes the job a part of a scheduler's trace.
"""

import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from actors.outcomes import VideoOutcome
from jobs.wiring.logs import LOG
from jobs.wiring.version import PACKAGE, project_version
from pipeline.uris import strip_secrets

END_S = 10.0
_GROUP = "opentelemetry_traces_exporter"  # entry points of the SDK and of exporters' packages
_HTTP = "otlp_proto_http"
_ERROR = trace.StatusCode.ERROR


class JobTrace:
    """The span of one run and those below it."""

    def __init__(self, run_id: str, attributes: Mapping[str, Any], *, started_at: datetime) -> None:
        """Begin the job's span.

        Raises:
            ValueError: ``OTEL_TRACES_EXPORTER`` names what is not installed.
        """
        self._own: TracerProvider | None = None
        given = trace.get_tracer_provider()
        if not isinstance(given, TracerProvider):  # else opentelemetry-instrument or the caller has made one
            given = self._own = _make_provider()
        self._tracer = given.get_tracer(PACKAGE, project_version())
        self._job = self._tracer.start_span(
            f"adapttoken run {run_id}",
            context=extract({name: os.environ.get(name.upper(), "") for name in ("traceparent", "tracestate")}),
            start_time=_ns(started_at.timestamp()),
            attributes={f"adapttoken.{name}": value for name, value in attributes.items() if value is not None},
        )
        self._below = trace.set_span_in_context(self._job)

    def note(self, outcome: VideoOutcome) -> None:
        """A video has ended: its span and those of its stages, none where no work was handed out for it."""
        if not outcome.stages or not outcome.rows:
            return
        first, num_by_status = outcome.rows[0], Counter(row.status for row in outcome.rows)
        attributes: dict[str, Any] = {
            "adapttoken.video": strip_secrets(first.video),
            "adapttoken.num_questions": len(outcome.rows),
            "adapttoken.num_failed": num_by_status["failed"],
            "adapttoken.attempts": max(row.attempts for row in outcome.rows),
        }
        start_s = min(stage.start_s for stage in outcome.stages)
        video = self._tracer.start_span("video", self._below, attributes=attributes, start_time=_ns(start_s))
        messages = [f"{row.error_class}: {row.error_message}" for row in outcome.rows if row.status == "failed"]
        if messages:
            video.set_status(_ERROR, messages[0])
        inside = trace.set_span_in_context(video)
        for stage in outcome.stages:
            span = self._tracer.start_span(
                str(stage.stage),
                inside,
                attributes={"adapttoken.num_pieces": stage.num_pieces, "adapttoken.busy_s": round(stage.busy_s, 6)},
                start_time=_ns(stage.start_s),
            )
            span.end(_ns(stage.end_s))
        video.end(_ns(max(stage.end_s for stage in outcome.stages)))

    def end(self, summary: Mapping[str, object], *, limit_s: float = END_S) -> None:
        """End the job's span, and send what is left, but not for long."""
        for name in ("exit_code", "num_videos", "num_ok", "num_failed", "num_skipped"):
            self._job.set_attribute(f"adapttoken.{name}", summary[name])  # type: ignore[arg-type]
        if summary["exit_code"]:
            self._job.set_status(_ERROR, f"exit code {summary['exit_code']}")
        self._job.end()
        if self._own is None:
            return
        last = threading.Thread(target=self._own.shutdown, name="tracing", daemon=True)
        last.start()
        last.join(limit_s)
        if last.is_alive():
            LOG.warning("--otel: no answer within %g s, so the last spans are not sent", limit_s)


def _make_provider() -> TracerProvider:
    names = [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")]
    resource = Resource.create({} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "adapttoken"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in names:
        if name not in ("", "none"):
            provider.add_span_processor(BatchSpanProcessor(_load_exporter(name)))
    return provider


def _load_exporter(name: str) -> Any:
    """By the name that ``OTEL_TRACES_EXPORTER`` knows it by; ``otlp`` is HTTP unless the protocol is ``grpc``."""
    general = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", general)
    if name == "otlp":
        name = "otlp_proto_grpc" if protocol == "grpc" else _HTTP
    found: Sequence[Any] = tuple(entry_points(group=_GROUP, name=name))
    if not found:
        known = ", ".join(sorted({point.name for point in entry_points(group=_GROUP)}))
        raise ValueError(
            f"OTEL_TRACES_EXPORTER: no exporter {name!r} is installed (there are: {known}); install its package, or "
            "pip install 'adapttoken-ray[otel]' for otlp over HTTP"
        )
    return found[0].load()()


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
