"""A whole run told to the real MLflow, Weights & Biases and OpenTelemetry, without a network; each where installed."""

import json
import logging

import pytest

from jobs import run
from jobs.wiring.extras import EXTRAS
from jobs.wiring.watchers import Watchers

FAST = ("--executor", "serial", "--max-frames", "64", "--frames-per-group", "32", "--limit", "2")


@pytest.fixture
def arguments(archive, model_folder, tmp_path):
    def build(*extra):
        return ["--manifest", str(archive), "--output", str(tmp_path / "out"), "--model", str(model_folder), *extra]

    return build


def run_folder(tmp_path):
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    return folder


def test_mlflow_has_settings_summary_and_answers_as_its_own_client_reads_them(arguments, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'adapttoken-ray[mlflow]'")
    pytest.importorskip("sqlalchemy", reason="a local store of MLflow needs sqlalchemy and alembic")
    pytest.importorskip("alembic", reason="a local store of MLflow needs sqlalchemy and alembic")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nights")
    assert run.main(arguments(*FAST, "--track", "mlflow", "--set", "tau=0.25")) == 0
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("nights").experiment_id])
    summary = json.loads((run_folder(tmp_path) / "summary.json").read_text())
    assert (found.info.run_name, found.info.status) == (summary["run_id"], "FINISHED")
    assert found.data.params["budget.tau"] == "0.25"
    assert found.data.metrics["num_ok"] == 2.0
    assert found.data.metrics["stage_seconds.score_s"] == pytest.approx(summary["stage_seconds"]["score_s"])
    assert found.data.tags["method"] == "adapttoken"
    files = {entry.path for entry in client.list_artifacts(found.info.run_id)}
    assert files == {"answers.csv", "config.json", "provenance.json", "summary.json"}
    path = client.download_artifacts(found.info.run_id, "answers.csv", str(tmp_path))
    with open(path, encoding="utf-8") as file:
        head, *rows = file.read().splitlines()
    assert head.startswith('"question_id","video","question","answer"')
    assert len(rows) == 2


def test_an_mlflow_server_that_is_away_costs_a_warning(arguments, tmp_path, monkeypatch, capsys):
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'adapttoken-ray[mlflow]'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert run.main(arguments(*FAST, "--track", "mlflow")) == 0
    assert capsys.readouterr().err.count("WARNING --track mlflow: MlflowException: ") == 1
    assert json.loads((run_folder(tmp_path) / "summary.json").read_text())["num_ok"] == 2


def test_wandb_offline_writes_a_run_with_config_summary_and_table(arguments, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'adapttoken-ray[wandb]'")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "PROJECT": "nights"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    assert run.main(arguments(*FAST, "--track", "wandb")) == 0
    (record,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = record.read_bytes()
    run_id = run_folder(tmp_path).name
    for said in (run_id, "budget.tau", "num_ok", "stage_seconds.score_s", "nights"):
        assert said.encode() in content
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/answers*.table.json")
    found = json.loads(table.read_text())
    assert found["columns"][:3] == ["question_id", "video", "question"]
    assert len(found["data"]) == 2


@pytest.fixture
def spans(monkeypatch):
    """A provider of the caller's own, as ``opentelemetry-instrument`` makes one, that keeps spans in memory."""
    monkeypatch.setitem(EXTRAS, "otel", "opentelemetry.sdk")  # Ray brings it; nothing is sent here
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


@pytest.mark.parametrize("executor", ["serial", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_run_is_a_job_with_videos_with_stages(executor, spans, arguments, tmp_path, monkeypatch):
    trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    monkeypatch.setenv("TRACEPARENT", f"00-{trace_id}-{parent}-01")
    assert run.main([*arguments(*FAST[2:], "--otel"), "--executor", executor]) == 0
    found = spans.get_finished_spans()
    by_id = {span.context.span_id: span for span in found}
    (job,) = [span for span in found if span.name.startswith("adapttoken run ")]
    videos = [span for span in found if span.name == "video"]
    assert (f"{job.context.trace_id:032x}", f"{job.parent.span_id:016x}") == (trace_id, parent)
    assert job.attributes["adapttoken.num_ok"] == 2
    assert job.attributes["adapttoken.method"] == "adapttoken"
    assert sum(video.attributes["adapttoken.num_questions"] for video in videos) == 2
    assert {video.parent.span_id for video in videos} == {job.context.span_id}
    for video in videos:
        stages = {span.name: span for span in found if span.parent and by_id.get(span.parent.span_id) is video}
        assert list(sorted(stages, key=lambda name: stages[name].start_time)) == ["probe", "decode", "score", "answer"]
        assert stages["score"].attributes["adapttoken.num_pieces"] == 2
        assert stages["score"].attributes["adapttoken.busy_s"] > 0
        for span in stages.values():
            assert job.start_time <= video.start_time <= span.start_time <= span.end_time <= video.end_time
        assert video.end_time <= job.end_time


def test_a_collector_that_is_away_does_not_hurt_the_job(arguments, tmp_path, monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="pip install 'adapttoken-ray[otel]'")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    assert run.main(arguments(*FAST, "--otel")) == 0
    assert json.loads((run_folder(tmp_path) / "summary.json").read_text())["num_ok"] == 2


def test_an_exporter_that_is_not_installed_is_one_line(arguments, monkeypatch, capsys):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="pip install 'adapttoken-ray[otel]'")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin9")
    assert run.main(arguments(*FAST, "--otel")) == 2
    assert "OTEL_TRACES_EXPORTER: no exporter 'zipkin9' is installed (there are: " in capsys.readouterr().err


def test_no_stages_are_kept_where_nobody_asks(arguments, monkeypatch):
    seen = []
    monkeypatch.setattr(Watchers, "note_video", lambda self, outcome: seen.append(outcome.stages))
    assert run.main(arguments(*FAST)) == 0
    assert set(seen) == {()}
