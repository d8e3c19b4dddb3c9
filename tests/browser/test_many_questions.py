"""Two thousand questions on one page: what it weighs, how long making it takes, and how soon something is seen."""

import shutil
import time

import numpy as np
import pytest

from jobs.report import main
from pipeline.results.keys import video_fingerprint
from pipeline.results.rows import EvidenceRow, GroupRow, KeptTokens
from tests.unit.report.report_rows import make_row, write_run

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1_200)]
NUM_VIDEOS, NUM_PER_VIDEO, NUM_GROUPS, NUM_TOKENS = 50, 40, 157, 512


@pytest.fixture(scope="session")
def many_output(demo_output, tmp_path_factory):
    """Copies of a real video, asked 40 questions each, of the size that 10,000 frames give."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    source = demo_output.parent / "archive" / "videos" / "v000.mp4"
    rows = []
    for video in range(NUM_VIDEOS):
        path = folder / f"v{video:03d}.mp4"
        shutil.copy(source, path)
        fingerprint = video_fingerprint(str(path))
        rows += [make_many(rng, f"{video:03d}-{number:02d}", path, fingerprint) for number in range(NUM_PER_VIDEO)]
    write_run(folder / "out", rows)
    return folder / "out"


def make_many(rng, key, path, fingerprint):
    patches = np.sort(rng.choice(400, NUM_TOKENS // 4, replace=False)).astype(float)
    share = rng.dirichlet(np.full(NUM_TOKENS, 0.1))
    tokens = KeptTokens(
        start_s=tuple(patches.repeat(4).tolist()),
        group_index=tuple((patches.repeat(4) % NUM_GROUPS).astype(int).tolist()),
        token_row=(0, 0, 1, 1) * (NUM_TOKENS // 4),
        token_column=(0, 1, 0, 1) * (NUM_TOKENS // 4),
        weight=tuple(share.astype(np.float32).tolist()),
    )
    weights = share.reshape(-1, 4).sum(axis=1)
    spans = [
        EvidenceRow(start_s=start, end_s=start + 1, weight=float(weight), num_tokens=4)
        for start, weight in zip(patches.tolist(), weights, strict=True)
    ]
    groups = tuple(
        GroupRow(
            group_index=index,
            entropy=float(entropy),
            certainty=-float(entropy),
            response="ABC"[index % 3],
            num_tokens_offered=128,
            num_tokens_bought=4,
            num_tokens_kept=3,
        )
        for index, entropy in enumerate(rng.uniform(0, 1.4, NUM_GROUPS))
    )
    return make_row(
        key,
        path,
        video_fingerprint=fingerprint,
        question=f"What happens in part {key}?",
        evidence=tuple(sorted(spans, key=lambda span: -span.weight)),
        kept_tokens=tokens,
        groups=groups,
        num_groups=NUM_GROUPS,
        duration_s=400.0,
        answer_entropy=float(rng.uniform(0, 1)),
    )


def test_two_thousand_questions_are_seen_at_once(many_output, open_page, tmp_path):
    path, seconds = tmp_path / "report.html", {}
    for name, options in (("without pictures", ["--thumbnails-per-question", "0"]), ("first", []), ("again", [])):
        started = time.perf_counter()
        assert main([str(many_output), "--html", str(path), *options]) == 0
        seconds[name] = time.perf_counter() - started
    with open_page(path) as opened:
        opened.page.wait_for_load_state("load")
        paint = "performance.getEntriesByType('paint').map((one) => one.startTime)"
        first_paint_ms = max(opened.page.evaluate(paint))
        loaded_ms = opened.page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        assert opened.text("#count") == "2,000 questions"
        lines = opened.page.locator(".line").count()
        search_ms = opened.page.evaluate("""() => {
            const box = document.getElementById("search"), started = performance.now();
            box.value = "part 049-3"; box.dispatchEvent(new Event("input"));
            return performance.now() - started;
        }""")
        assert opened.text("#count") == "10 of 2,000 questions"
        opened.page.fill("#search", "")
        opened.page.focus("#list")
        open_ms = opened.page.evaluate("""() => {
            const started = performance.now();
            document.getElementById("list").dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
            return performance.now() - started;
        }""")
        assert opened.text("#detail h2") == "What happens in part 049-39?"
        assert opened.page.locator("figure img").count() == 4
    print(
        f"\n{path.stat().st_size / 1024**2:.1f} MiB; made in {seconds['first']:.0f} s, again {seconds['again']:.0f} s, "
        f"without pictures {seconds['without pictures']:.0f} s; first paint {first_paint_ms:.0f} ms, all there "
        f"{loaded_ms:.0f} ms, search {search_ms:.0f} ms, last question {open_ms:.0f} ms, {lines} lines are elements"
    )
    assert lines < 40
    assert first_paint_ms < 1000
    assert search_ms < 200
    assert open_ms < 500
