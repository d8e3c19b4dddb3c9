"""The page that a server stands behind, in a real browser: asking, seeing, stopping, browsing, for everyone."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest

from pipeline.serving import video_session
from tests.browser.test_report_for_everyone import LOOKS, until
from tests.integration.served_page import serving
from tests.unit.report.report_rows import HOSTILE
from tests.unit.serving.test_answer_lines import NUM, make_many

pytestmark = pytest.mark.browser
IS_OVER = "!document.getElementById('ask-submit').disabled"


@pytest.fixture(scope="module")
def client(demo_output):
    """The demo run's answers and videos, asked of the demo model."""
    with serving(str(demo_output), "--model", "demo", "--method", "adapttoken") as opened:
        yield opened


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    with serving(make_many(tmp_path_factory.mktemp("many")), "--no-ask") as opened:
        yield opened


@pytest.fixture
def tickets(monkeypatch):
    """One is needed for every group that is scored; nothing else is slow enough to be looked at."""
    free, real = threading.Semaphore(0), video_session.VideoSession._describe_score

    def describe(self, *args):
        assert free.acquire(timeout=60)
        return real(self, *args)

    monkeypatch.setattr(video_session.VideoSession, "_describe_score", describe)
    yield free
    free.release(1_000)


@pytest.fixture
def open_served(browser):
    """Opens the page of a server, and checks at the end that it was content, and asked nobody else."""
    opened = []

    def open_it(client, fragment="", **options):
        page = browser.new_page(**({"viewport": {"width": 1360, "height": 900}} | options))
        complaints, asked = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{client.port}/{fragment}")
        page.wait_for_selector(".line")
        opened.append((page, complaints, asked, client.port))
        return page

    yield open_it
    for page, complaints, asked, port in opened:
        page.close()
        assert [text for text in complaints if not text.startswith("Failed to load resource")] == []
        assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {f"127.0.0.1:{port}"}


def ask(page, text, options=()):
    page.fill("#ask-text", text)
    page.fill("#ask-options", "\n".join(options))
    page.press("#ask-text", "Enter")


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_no_violation_before_meanwhile_and_after(client, open_served, tickets, axe, look):
    page = open_served(client, bypass_csp=True, **LOOKS[look])
    page.evaluate(axe)

    def check(state):
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert len(found["passes"]) > 20
        named = [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]]
        assert named == [], f"{state}: {json.dumps(named, indent=2)}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), state

    check("before")
    page.click("#summary details.figures > summary")
    check("figures")
    ask(page, f"What color is the {look}?", ["red", "green"])
    tickets.release(2)
    until(page, "document.querySelectorAll('#ask-live circle[data-visit]').length === 2")
    check("meanwhile")
    tickets.release(1_000)
    until(page, IS_OVER)
    page.wait_for_selector("#detail figure img")
    check("after")
    page.fill("#ask-text", "x" * 20_001)
    page.press("#ask-text", "Enter")
    page.wait_for_selector("#ask-problem:visible")
    assert "at most 20,000 can be asked" in page.text_content("#ask-problem")
    check("refused")


def test_with_the_keyboard_alone_a_question_is_asked_seen_and_its_moment_played(client, open_served, tickets):
    page = open_served(client)

    def tab_to(element):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({json.dumps(element)})"):
                return
        pytest.fail(f"no way to {element}")

    tab_to("#ask-text")
    page.keyboard.type("What color is the star?")
    page.keyboard.press("Enter")
    for number in range(1, 4):
        tickets.release()
        until(page, f"document.querySelectorAll('#ask-live circle[data-visit]').length === {number}")
        seen = page.evaluate("document.querySelectorAll('#ask-live rect.patch').length")
        assert seen >= number
    assert "groups" in page.text_content("#ask-status")
    tickets.release(1_000)
    until(page, IS_OVER)
    page.wait_for_selector("#detail figure img")
    said = page.text_content("#ask-status")
    assert "(adapttoken, demo; " in said
    assert page.text_content("#detail .answer") in said
    assert "adapttoken, model demo" in page.text_content("#detail .chips")
    assert page.text_content(".line[aria-selected=true] .question") == "What color is the star?"
    assert page.evaluate("document.activeElement.id") == "ask-text"  # ready for the next one
    tab_to("#ask-show")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    tab_to(".spans a.time")
    moment = page.evaluate("Number(new URLSearchParams(document.activeElement.hash.slice(1)).get('t'))")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('video')?.readyState >= 2")
    assert moment - 1.5 <= page.evaluate("document.querySelector('video').currentTime") <= moment + 10


def test_stop_and_leaving_withdraw_the_question(client, open_served, browser, tickets):
    page = open_served(client)
    ask(page, "Who stops?")
    tickets.release()
    page.wait_for_selector("#ask-live circle[data-visit]", state="attached")
    page.focus("#ask-stop")
    page.keyboard.press("Enter")
    until(page, IS_OVER)
    assert page.text_content("#ask-status") == "Stopped: the question was withdrawn."
    assert client.server.wait_until_idle(30)
    leaving = browser.new_page()
    leaving.goto(f"http://127.0.0.1:{client.port}/")
    ask(leaving, "Who leaves?")
    tickets.release(2)  # one is still waited for by the question before, which then ends
    leaving.wait_for_selector("#ask-live circle[data-visit]", state="attached")
    leaving.close()
    assert client.server.wait_until_idle(30)
    tickets.release(1_000)
    assert client.json("/api/answers?show=here&search=who")[1]["num_found"] == 0


def test_early_stop_is_seen(client, open_served):
    page = open_served(client)
    page.select_option("#ask-method", "adapttoken-lite")
    ask(page, "What color is the ring?")
    until(page, IS_OVER)
    page.wait_for_selector("#detail figure img")
    assert "stopped early after" in page.text_content("#ask-status")
    assert page.locator("#detail line.stop").count() == 1


def test_pages_of_lines_are_turned_searched_and_crossed_by_the_arrows(many, open_served):
    page = open_served(many)
    assert page.text_content("#count") == f"{NUM} questions"
    assert not page.is_visible("#ask")
    assert page.text_content("#page-count") == "of 3"
    page.focus("#list")
    page.keyboard.press("Home")
    page.keyboard.press("End")
    until(page, "document.querySelector('.crumbs span:nth-child(2)')?.textContent === 'id-key-099'")
    page.keyboard.press("ArrowDown")
    until(page, "document.querySelector('.crumbs span:nth-child(2)').textContent === 'id-key-100'")
    assert page.input_value("#page-number") == "2"
    position = "document.querySelector('.line[aria-selected=true]').getAttribute('aria-posinset')"
    assert page.evaluate(position) == "101"
    page.keyboard.press("ArrowUp")
    until(page, "document.querySelector('.crumbs span:nth-child(2)').textContent === 'id-key-099'")
    page.fill("#page-number", "3")
    page.press("#page-number", "Enter")
    until(page, "document.getElementById('page-after').disabled")
    page.fill("#search", "O'CLOCK")
    until(page, "document.getElementById('count').textContent.includes(' of ')")
    found = page.eval_on_selector_all(".line .question", "all => all.map((one) => one.textContent)")
    assert found
    assert all("o'clock" in text for text in found)
    address = page.evaluate("location.href")
    again = open_served(many, urlsplit(address).fragment and f"#{urlsplit(address).fragment}")
    until(again, "document.querySelector('.crumbs span:nth-child(2)')?.textContent === 'id-key-099'")


def test_markup_in_a_question_stays_text(client, open_served):
    page = open_served(client)
    ask(page, HOSTILE.replace("\u2028", " "))
    until(page, IS_OVER)
    page.wait_for_selector("#detail h2")
    assert "<script>" in page.text_content("#detail h2")
    assert page.locator("#detail script, .line script, #ask script").count() == 0


def test_another_page_in_the_same_browser_cannot_ask_and_not_read(client, browser):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<h1>other</h1>")

        def log_message(self, *args):
            pass

    other = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    before = client.server._desk._num_asked
    page = browser.new_page()
    page.goto(f"http://localhost:{other.server_port}/")
    answers = page.evaluate(
        """async (base) => {
            const tried = async (path, options) => {
                try { const got = await fetch(base + path, options); return [got.type, got.status]; }
                catch (error) { return "refused"; }
            };
            const body = JSON.stringify({ video: "x", question: "Who?" });
            return [
                await tried("/api/head", {}),
                await tried("/api/ask", { method: "POST", body, headers: { "Content-Type": "application/json" } }),
                await tried("/api/ask", { method: "POST", body, mode: "no-cors" }),
            ];
        }""",
        f"http://127.0.0.1:{client.port}",
    )
    page.close()
    other.shutdown()
    assert answers[:2] == ["refused", "refused"]
    assert answers[2] in ("refused", ["opaque", 0])
    assert client.server._desk._num_asked == before


def test_with_videos_alone_the_first_answer_is_the_first_line(demo_output, browser):
    video = sorted((demo_output.parent / "archive" / "videos").iterdir())[0]
    with serving(str(video), "--model", "demo", "--method", "adapttoken-lite") as client:
        page = browser.new_page()
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"http://127.0.0.1:{client.port}/")
        until(page, "document.getElementById('count').textContent === '0 questions'")
        page.focus("#list")
        page.keyboard.press("ArrowDown")  # there is nothing to move to
        for number, method in enumerate(("adapttoken-lite", "adapttoken"), 1):
            page.select_option("#ask-method", method)
            ask(page, f"What color is the star, {number}?")
            until(page, IS_OVER)
            until(page, f"document.getElementById('count').textContent.startsWith('{number} question')")
        page.wait_for_selector("#detail figure img")
        until(page, "!document.getElementById('method-label').hidden")
        page.select_option("#method", "adapttoken")
        until(page, "document.getElementById('count').textContent === '1 of 2 questions'")
        page.close()
    assert complaints == []
