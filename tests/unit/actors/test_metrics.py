"""What Prometheus is told about a run, and that the dashboard asks for exactly that."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors import metrics
from actors.metrics import RunMetrics
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.progress import Progress
from pipeline.failures import Failure, FailureClass
from pipeline.manifest.questions import Question
from pipeline.results.rows import RunStamp, failed_result

ROOT = Path(__file__).resolve().parents[3]
START = Progress(
    num_videos=2, num_videos_done=0, num_questions=8, num_questions_done=0, num_groups_scored=0, num_groups_planned=0
)


class Recorder:
    """A metric that remembers what it was told, by its tags."""

    def __init__(self, name, description, *more):
        assert description
        self.info, self.tags, self.values = {"name": name}, None, {}
        self.tag_keys = more[-1]

    def set_default_tags(self, tags):
        self.tags = tags

    def note(self, value, tags):
        assert sorted([*self.tags, *(tags or {})]) == sorted(self.tag_keys)
        assert all(isinstance(text, str) for text in (tags or {}).values())
        self.values.setdefault(tuple((tags or {}).values()), []).append(value)


class Counter(Recorder):
    def inc(self, value=1.0, tags=None):
        assert value > 0
        self.note(value, tags)


class Gauge(Recorder):
    def set(self, value, tags=None):
        self.note(value, tags)


class Histogram(Recorder):
    def observe(self, value, tags=None):
        self.note(value, tags)


@pytest.fixture
def recorded(monkeypatch):
    """A run's metrics, and a look at what each was told."""
    for kind in (Counter, Gauge, Histogram):
        monkeypatch.setattr(metrics, kind.__name__, kind)
    run = RunMetrics("r1")
    return run, lambda name: next(metric.values for metric in run._all if metric.info["name"] == f"adapttoken_{name}")


def test_counters_take_over_what_sums_have_grown_by(recorded):
    run, values = recorded
    for scored, wasted in ((3, 0), (3, 0), (10, 2)):
        run.note(replace(START, num_groups_scored=scored, num_groups_wasted=wasted))
    assert values("groups_scored") == {(): [3, 7]}
    assert values("groups_wasted") == {(): [2]}
    assert values("retries") == {}


def test_work_that_starts_over_counts_again(recorded):
    run, values = recorded
    for scored in (10, 4, 12):
        run.note(replace(START, num_groups_scored=scored))
    assert sum(values("groups_scored")[()]) == 10 + 8


def test_gauges_show_the_present(recorded):
    run, values = recorded
    run.note(replace(START, frame_bytes=5, num_scorers=3, num_answerers=1, num_decoders=7))
    run.note(replace(START, frame_bytes=0, num_scorers=2, num_answerers=1, num_decoders=7))
    assert values("frame_bytes") == {(): [5, 0]}
    assert values("workers") == {("scorer",): [3, 2], ("answerer",): [1, 1], ("decoder",): [7, 7]}
    assert values("questions") == {(): [8, 8]}


def test_questions_are_counted_by_how_they_ended(recorded):
    run, values = recorded
    question = Question(question_id="a", video="v", text="t", options=None, row_index=0)
    stamp = RunStamp(run_id="r1", method="m", model="d", model_revision=None, config_hash="c")
    failure = Failure(failure_class=FailureClass.CORRUPT_MEDIA, message="m")
    failed = failed_result(
        question, failure, question_key="k", stamp=stamp, finished_at=datetime(2026, 1, 31, tzinfo=UTC)
    )
    well = replace(failed, status="ok", error_class=None, answer="x")
    run.count_rows([well, well, failed])
    run.count_rows([well])
    assert values("questions_done") == {("ok", ""): [1.0, 1.0, 1.0], ("failed", "corrupt_media"): [1.0]}
    assert values("videos_done") == {(): [1.0, 1.0]}


def test_seconds_are_observed_by_piece_and_stage(recorded):
    run, values = recorded
    run.observe_seconds([StageSeconds(encode_s=1.0, score_s=0.5), StageSeconds(score_s=0.25), StageSeconds()])
    assert values("piece_seconds") == {("encode",): [1.0], ("score",): [0.5, 0.25]}
    assert values("busy_seconds") == {("encode",): [1.0], ("score",): [0.75]}


def dashboard_metrics():
    """Every metric that a query of the dashboard names."""
    dashboard = json.loads((ROOT / "cluster" / "grafana_dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    return {name for query in queries for name in re.findall(r"\bray_\w+", query)}


def test_the_dashboard_names_exactly_the_metrics_that_are_emitted(recorded):
    run, _ = recorded
    emitted = set()
    for name, kind in run.names.items():
        emitted |= {f"{name}_{part}" for part in ("bucket", "count")} if kind == "histogram" else {name}
    assert dashboard_metrics() == emitted
    assert len(emitted) == 15 + 2


def test_the_dashboards_labels_are_ones_that_metrics_have(recorded):
    run, _ = recorded
    text = (ROOT / "cluster" / "grafana_dashboard.json").read_text()
    tag_keys = {f"ray_{metric.info['name']}": set(metric.tag_keys) for metric in run._all}
    selectors = re.findall(r"(ray_\w+?)(?:_total|_bucket|_sum|_count)?\{(.*?)\}", text.replace('\\"', '"'))
    assert len(selectors) > 20
    for name, labels in selectors:
        assert set(re.findall(r"(\w+)=", labels)) <= tag_keys[name]
    stages = {stage for found in re.findall(r'stage=~?\\"([\w|]+)', text) for stage in found.split("|")}
    assert stages <= {name.removesuffix("_s") for name in StageSeconds.__dataclass_fields__}


def test_panels_of_the_dashboard_do_not_overlap():
    panels = json.loads((ROOT / "cluster" / "grafana_dashboard.json").read_text())["panels"]
    cells = [
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy)
        for panel in panels
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
