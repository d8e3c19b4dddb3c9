"""The report of a demo run in a real browser: it draws the values of the Parquet, by itself, for any keyboard."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.unit.report.report_rows import HOSTILE

pytestmark = pytest.mark.browser
DIGITS = 5e-6  # numbers in the page have six digits


def near(rows):
    return [tuple(None if value is None else pytest.approx(value, rel=DIGITS) for value in row) for row in rows]


def every_question(opened):
    """Goes through all questions with the keyboard; yields the id of each once it is drawn."""
    opened.page.focus("#list")
    opened.page.keyboard.press("Home")
    num_questions = int(opened.text("#count").split()[0])
    for number in range(num_questions):
        if number:
            opened.page.keyboard.press("ArrowDown")
        yield opened.text(".crumbs span:nth-child(2)")


def test_every_element_holds_the_values_of_the_row(demo_page, demo_rows, open_page):
    seen = []
    with open_page(demo_page) as opened:
        for question_id in every_question(opened):
            row = demo_rows[question_id]
            seen.append(question_id)
            assert opened.text("#detail h2") == row["question"]
            spans = [(span["start_s"], span["end_s"], span["weight"]) for span in row["evidence"]]
            assert opened.values("rect.evidence[data-start]", "start", "end", "weight") == near(spans)
            groups = [(visit, one["group_index"], one["entropy"]) for visit, one in enumerate(row["groups"], 1)]
            assert opened.values("circle.group[data-visit]", "visit", "group", "entropy") == near(groups)
            kept = [(one["num_tokens_kept"],) for one in row["groups"] if one["num_tokens_kept"]]
            assert opened.values("rect.kept[data-kept]", "kept") == near(kept)
            stops = [(len(row["groups"]),)] if row["stop_reason"] == "confident" else []
            assert opened.values("line.stop", "stop") == near(stops)
            check_patches(opened, row)
            check_frames(opened, row)
            probabilities = [(value,) for value in row["option_probabilities"] or ()]
            assert opened.values(".options rect.value", "value") == near(probabilities)
    assert sorted(seen) == sorted(demo_rows)


def check_patches(opened, row):
    counts = {}
    for token in row["kept_tokens"]:
        counts[token["start_s"]] = counts.get(token["start_s"], 0) + 1
    entropies = {one["group_index"]: one["entropy"] for one in row["groups"]}
    group_of = {token["start_s"]: token["group_index"] for token in row["kept_tokens"]}
    expected = [(start_s, number, entropies[group_of[start_s]]) for start_s, number in sorted(counts.items())]
    assert opened.values("rect.patch[data-start]", "start", "tokens", "entropy") == near(expected)


def check_frames(opened, row):
    figures = opened.values("figure", "start", "weight")
    assert 1 <= len(figures) <= 4
    tokens = []
    for start_s, weight in figures:
        own = [token for token in row["kept_tokens"] if token["start_s"] == start_s]
        assert weight == pytest.approx(sum(token["weight"] for token in own), rel=DIGITS)
        tokens += [(token["token_row"], token["token_column"], token["weight"]) for token in own]
    assert opened.values("rect.token", "row", "column", "weight") == near(tokens)
    assert opened.values("figure img", "start") == [(start_s,) for start_s, _ in figures]
    sizes = opened.page.eval_on_selector_all("figure img", "all => all.map((one) => one.naturalWidth)")
    assert set(sizes) == {256}
    heaviest = max(row["evidence"], key=lambda span: span["weight"])
    assert any(heaviest["start_s"] <= start_s < heaviest["end_s"] for start_s, _ in figures)


def test_the_strip_is_drawn_to_scale(demo_page, demo_rows, open_page):
    with open_page(demo_page) as opened:
        for question_id in every_question(opened):
            row = demo_rows[question_id]
            lane = opened.page.eval_on_selector("rect.lane", "one => [one.x.baseVal.value, one.width.baseVal.value]")
            read = "all => all.map((one) => [one.x.baseVal.value, one.height.baseVal.value])"
            heaviest = row["evidence"][0]["weight"]
            for (x, height), span in zip(
                opened.page.eval_on_selector_all("rect.evidence[data-start]", read), row["evidence"], strict=True
            ):
                expected = lane[0] + lane[1] * span["start_s"] / row["duration_s"]
                assert x == pytest.approx(min(expected, sum(lane) - 3), abs=0.01)
                assert height == pytest.approx(max(3, 50 * span["weight"] / heaviest), abs=0.01)


def test_markup_in_a_question_is_text(demo_page, open_page):
    with open_page(demo_page) as opened:
        opened.page.fill("#search", "alert(")
        assert opened.text("#count") == "1 of 25 questions"
        opened.page.click(".line")
        assert opened.text("#detail h2") == HOSTILE
        assert opened.page.locator("#detail h2 > *").count() == 0
        assert opened.page.locator(".line .question > *").count() == 0
        assert opened.page.evaluate("document.querySelectorAll('img[onerror], script:not([type])').length") == 1


class CountingHandler(BaseHTTPRequestHandler):
    num_requests = 0

    def do_GET(self):
        CountingHandler.num_requests += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_the_policy_of_the_page_forbids_every_connection(demo_page, open_page):
    server = HTTPServer(("127.0.0.1", 0), CountingHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/"
    script = """async (address) => {
        const outcomes = [await fetch(address).then(() => "reached", () => "refused")];
        const image = new Image();
        outcomes.push(await new Promise((done) => {
            image.onload = () => done("reached"); image.onerror = () => done("refused"); image.src = address + "x.png";
        }));
        const code = document.createElement("script");
        code.textContent = "window.wasRun = true";
        document.body.append(code);
        outcomes.push(window.wasRun === undefined ? "refused" : "run");
        return outcomes;
    }"""
    try:
        with open_page(demo_page, expects_complaints=True) as opened:
            assert opened.page.evaluate(script, address) == ["refused"] * 3
            opened.requests[:] = [url for url in opened.requests if url.startswith("file:")]
            assert any("Content Security Policy" in text for text in opened.complaints)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert CountingHandler.num_requests == 0


def test_search_filter_and_sort_choose_the_lines(demo_page, demo_rows, open_page):
    with open_page(demo_page) as opened:
        page = opened.page
        page.fill("#search", "v002 color")
        assert opened.text("#count") == f"{sum('v002' in row['video'] for row in demo_rows.values())} of 25 questions"
        page.fill("#search", "")
        page.select_option("#filter", "early")
        early = sum(row["stop_reason"] == "confident" for row in demo_rows.values())
        assert opened.text("#count").split()[0] == str(early)
        page.select_option("#filter", "all")
        page.select_option("#sort", "unsure")
        page.click(".line:first-child")
        least_sure = max(demo_rows.values(), key=lambda row: row["answer_entropy"])
        assert opened.text(".crumbs span:nth-child(2)") == least_sure["question_id"]


def test_the_page_is_used_by_keyboard_alone(demo_page, open_page):
    with open_page(demo_page) as opened:
        page = opened.page
        focused = "document.activeElement.id"
        page.keyboard.press("/")
        assert page.evaluate(focused) == "search"
        page.keyboard.type("jk/")
        assert page.input_value("#search") == "jk/"
        page.fill("#search", "")
        page.keyboard.press("Escape")
        assert page.evaluate(focused) == "list"
        page.keyboard.press("End")
        last = opened.text(".crumbs span:nth-child(2)")
        assert page.get_attribute("#list", "aria-activedescendant") == page.get_attribute("[aria-selected=true]", "id")
        page.keyboard.press("k")
        assert opened.text(".crumbs span:nth-child(2)") != last
        page.keyboard.press("j")
        assert opened.text(".crumbs span:nth-child(2)") == last
        page.keyboard.press("Enter")
        assert page.evaluate(focused) == "detail"
        address = page.evaluate("location.hash")
    with open_page(demo_page, fragment=address) as opened:
        assert opened.text(".crumbs span:nth-child(2)") == last


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_it_follows_the_system_in_dark_and_light_and_text_is_readable(demo_page, open_page, tmp_path, scheme, is_dark):
    contrast = """() => {
        const channel = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
            .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
        const light = (text) => channel(text).reduce((sum, one, i) => sum + one * [0.2126, 0.7152, 0.0722][i], 0);
        const paper = light(getComputedStyle(document.getElementById("detail")).backgroundColor);
        const ratio = (one) => { const ink = light(getComputedStyle(one).color);
            return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05); };
        const texts = document.querySelectorAll("#detail p, #detail h2, #detail dd, #detail dt, #detail span");
        return [paper, Math.min(...[...texts].map(ratio))];
    }"""
    with open_page(demo_page, color_scheme=scheme) as opened:
        paper, least = opened.page.evaluate(contrast)
        assert (paper < 0.2) == is_dark
        assert least >= 4.5  # WCAG AA
        opened.page.screenshot(path=tmp_path / "page.png", full_page=True)
        opened.page.click("#theme")
        opened.page.click("#theme")  # system -> light -> dark
        assert opened.page.evaluate(contrast)[0] < 0.2


def test_a_narrow_window_needs_no_sideways_scrolling(demo_page, open_page):
    with open_page(demo_page, viewport={"width": 390, "height": 800}) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
