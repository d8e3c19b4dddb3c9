"""A headless Chromium, and the report of a run of the demo model that it opens from disk."""

import json
import shutil
import subprocess
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.report import main as report_main
from jobs.run import main as run_main
from pipeline.demo.archive import ArchiveSpec, write_archive
from pipeline.results.finished import read_answers
from tests.unit.report.report_rows import HOSTILE

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
AXE = "axe-core@4.14"
INSTALL = "no Chromium found: apt-get install chromium-headless-shell, or python -m playwright install chromium"


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import Error, sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            pytest.fail(f"{INSTALL} ({error})")
        yield browser
        browser.close()


class Opened:
    """A page, what it complained of, and what it asked of the network."""

    def __init__(self, page):
        self.page, self.complaints, self.requests = page, [], []
        self.videos = set()  # that may be asked for beside the page
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def values(self, selector, *names):
        """Data attributes of all elements: numbers as numbers."""
        read = "(all, names) => all.map((one) => names.map((name) => one.getAttribute('data-' + name)))"
        found = self.page.eval_on_selector_all(selector, read, list(names))
        return [tuple(None if value is None else float(value) for value in one) for one in found]

    def text(self, selector):
        return self.page.text_content(selector)


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The rules of accessibility of axe-core, which npm fetches: script text."""
    folder = tmp_path_factory.mktemp("axe")
    fetched = subprocess.run(
        ["npm", "install", "--silent", "--prefix", str(folder), AXE], capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.fail(f"npm could not fetch {AXE}: {fetched.stderr[-300:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def open_page(browser):
    """Opens a file and checks, when it is closed, that it was content with itself and alone."""

    @contextmanager
    def open_file(path, *, fragment="", expects_complaints=False, **options):
        page = browser.new_page(**({"viewport": {"width": 1360, "height": 900}} | options))
        opened = Opened(page)
        page.goto(f"{path.as_uri()}{fragment}")
        page.wait_for_selector("#detail h2")
        yield opened
        page.close()
        assert expects_complaints or opened.complaints == []
        asked = {url.partition("#")[0] for url in opened.requests if not url.startswith("data:")}
        assert asked - opened.videos == {path.as_uri()}

    return open_file


@pytest.fixture(scope="session")
def demo_output(tmp_path_factory):
    """24 questions about four videos, of which eight are open, and one with markup; answered by the demo model."""
    folder = tmp_path_factory.mktemp("demo")
    spec = ArchiveSpec(num_frames=(800,) * 4, questions_per_video=6, open_questions_per_video=2, seed=7)
    manifest = write_archive(folder / "archive", spec)
    table = pq.read_table(manifest)
    hostile = table.slice(0, 1).to_pylist()[0] | {"question_id": "hostile", "question": HOSTILE}
    both = pa.concat_tables([table, pa.Table.from_pylist([hostile], table.schema)])
    path = folder / "archive" / "more.parquet"
    pq.write_table(both, path)
    output = folder / "out"
    settings = ["--model", "demo", "--method", "adapttoken-lite", "--executor", "serial", "--log-level", "warning"]
    assert run_main(["--manifest", str(path), "--output", str(output), *settings]) == 0
    return output


@pytest.fixture(scope="session")
def demo_page(demo_output, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert report_main([str(demo_output), "--html", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def demo_rows(demo_output):
    """Question id -> row."""
    rows = {row["question_id"]: row for row in read_answers(str(demo_output)).to_pylist()}
    assert len(rows) == 25
    assert all(row["status"] == "ok" for row in rows.values()), json.dumps(rows, default=str)
    return rows
