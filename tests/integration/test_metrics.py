"""What Prometheus finds at a node's own port after a real run on Ray."""

import re
import time
import urllib.request
from collections import defaultdict

import pytest
import ray

from actors.outcomes import VideoOutcome
from actors.ray_executor import run_on_ray
from actors.worker_pool import ActorOptions
from pipeline.engine.progress import Progress

REPORTED_EVERY_S = 10.0  # Ray's own interval, and why this is slow


def scrape():
    """Samples of this project at this node's metrics port: (name, labels in question) -> value."""
    [node] = [node for node in ray.nodes() if node["Alive"]]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as reply:
        text = reply.read().decode()
    found = defaultdict(float)
    for name, labels, value in re.findall(r"^(ray_adapttoken_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        own = dict(re.findall(r'(run_id|status|error_class|role|stage|le)="(.*?)"', labels))
        found[name, own.pop("run_id"), *own.values()] += float(value)
    return found


def scrape_until(is_there, *, within_s):
    deadline = time.monotonic() + within_s
    while not is_there(found := scrape()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_prometheus_finds_the_counts_of_a_run(make_job, place):
    job = make_job("adapttoken-lite")
    events = list(run_on_ray(job, ActorOptions(scorer=(place,), decoder=(place,))))
    rows = [row for event in events if isinstance(event, VideoOutcome) for row in event.rows]
    last = [event for event in events if isinstance(event, Progress)][-1]
    run_id = job.stamp.run_id

    def of(name, *labels):
        return found.get((f"ray_adapttoken_{name}", run_id, *labels))

    found = scrape_until(
        lambda found: found.get(("ray_adapttoken_videos_done_total", run_id)) == 2, within_s=2.5 * REPORTED_EVERY_S
    )
    assert of("videos_done_total") == last.num_videos == 2
    assert of("questions_done_total", "", "ok") == 6
    assert of("groups_scored_total") == last.num_groups_scored
    assert of("questions_stopped_early_total") == sum(row.stop_reason == "confident" for row in rows) > 0
    assert (of("workers", "scorer"), of("workers", "answerer"), of("workers", "decoder")) == (1, 0, 1)
    assert (of("questions"), of("videos_in_flight"), of("frame_bytes")) == (6, 0, 0)
    for stage in ("decode", "encode", "prefill", "score", "answer"):
        spent = sum(getattr(row, f"{stage}_s") for row in rows)
        assert of("busy_seconds_total", stage) == pytest.approx(spent, rel=1e-6)
    assert of("piece_seconds_count", "score") == last.num_groups_scored
    assert of("piece_seconds_bucket", "+Inf", "score") == last.num_groups_scored
