"""The report for those who do not see it as its authors do, and the moments that it leads to."""

import itertools
import json

import pytest

from jobs.report import main as report_main

pytestmark = pytest.mark.browser

LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}},
    "forced colours": {"forced_colors": "active"},
}
IN_SIGHT = """() => {
    const box = document.getElementById("list").getBoundingClientRect();
    const line = document.querySelector(".line[aria-selected=true]")?.getBoundingClientRect();
    return Boolean(line) && line.top >= box.top - 1 && line.bottom <= box.bottom + 1;
}"""


def until(page, condition):
    """``wait_for_function`` compiles text, which the page's policy forbids."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never came: {condition}")


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_no_violation(demo_page, open_page, axe, look):
    with open_page(demo_page, bypass_csp=True, **LOOKS[look]) as opened:
        opened.page.evaluate(axe)
        found = opened.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert len(found["passes"]) > 20
        named = [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]]
        assert named == [], json.dumps(named, indent=2)


def test_headings_come_in_order(demo_page, open_page):
    with open_page(demo_page) as opened:
        read = "all => all.map((one) => Number(one.tagName[1]))"
        levels = opened.page.eval_on_selector_all("h1, h2, h3, h4, h5, h6", read)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), levels


def test_only_short_counts_are_read_out_by_themselves(demo_page, open_page):
    """A whole answer with its tables was read out again for every line that the arrow passed."""
    with open_page(demo_page) as opened:
        read = "all => all.map((one) => [one.id, one.textContent.length])"
        live = opened.page.eval_on_selector_all("[aria-live], [role=status], [role=alert]", read)
    assert "count" in [name for name, _ in live]
    assert all(length < 60 for _, length in live), live


def test_an_option_fills_its_share_of_the_track(demo_page, demo_rows, open_page):
    with open_page(demo_page) as opened:
        row = next(row for row in demo_rows.values() if row["options"])
        opened.page.goto(f"{demo_page.as_uri()}#q={row['question_key']}")
        read = "all => all.map((one) => one.getBBox().width / one.previousSibling.getBBox().width)"
        drawn = opened.page.eval_on_selector_all(".options rect.value", read)
        assert drawn == pytest.approx(row["option_probabilities"], abs=2e-3)
        half = opened.page.evaluate("""() => {
            const made = bars([["A", 0.591, ""], ["B", 0.2, ""]], "", 1);
            return [...made.querySelectorAll("rect.value")].map((one) => one.getAttribute("width"));
        }""")
    assert half == ["59.099999999999994%", "20%"]


@pytest.mark.parametrize("look", ["light", "phone"])
def test_the_chosen_question_stays_in_sight(demo_page, open_page, look):
    with open_page(demo_page, **LOOKS[look]) as opened:
        page = opened.page
        page.focus("#list")
        page.keyboard.press("End")
        assert page.evaluate(IN_SIGHT)
        chosen = opened.text(".crumbs span:nth-child(2)")
        page.select_option("#sort", "question")
        assert page.evaluate(IN_SIGHT)
        page.fill("#search", "color")
        page.fill("#search", "")
        assert page.evaluate(IN_SIGHT)
        page.set_viewport_size({"width": 700, "height": 500})
        page.wait_for_timeout(100)
        assert page.evaluate(IN_SIGHT)
        assert opened.text(".crumbs span:nth-child(2)") == chosen


def test_in_forced_colours_the_chosen_line_and_the_bars_are_seen(demo_page, open_page):
    with open_page(demo_page, forced_colors="active") as opened:
        colours = opened.page.evaluate("""() => {
            const style = (selector) => getComputedStyle(document.querySelector(selector));
            const chosen = style(".line[aria-selected=true]"), other = style(".line[aria-selected=false]");
            return [chosen.backgroundColor, other.backgroundColor, chosen.outlineStyle,
                style(".options .value.chosen").fill, style(".options .track").fill, style(".options .track").stroke];
        }""")
    chosen, other, outline, value, track, edge = colours
    assert chosen != other
    assert outline == "solid"
    assert value != track
    assert edge not in ("none", track)


def test_a_time_leads_to_the_moment_by_the_question_s_key_and_plays_it(demo_page, demo_rows, open_page):
    row = next(row for row in demo_rows.values() if row["evidence"] and row["evidence"][0]["start_s"] > 5)
    start_s, key = row["evidence"][0]["start_s"], row["question_key"]
    with open_page(demo_page, fragment=f"#q={key}") as opened:
        opened.videos = {f"file://{row['video']}"}
        page = opened.page
        assert opened.text(".crumbs span:nth-child(2)") == row["question_id"]
        page.focus(".spans a.time")
        page.keyboard.press("Enter")
        page.wait_for_selector("video")
        until(page, "document.querySelector('video').readyState >= 2")
        at = page.evaluate("document.querySelector('video').currentTime")
        assert start_s - 1.5 <= at <= start_s + 10
        assert opened.values("line.moment", "moment") == [(pytest.approx(start_s),)]
        assert page.evaluate("document.activeElement.matches('.spans a.time')")  # the keyboard goes on from there
        address = page.evaluate("location.hash")
    assert address == f"#q={key}&t={start_s:g}"
    with open_page(demo_page, fragment=address) as opened:  # as somebody sends it
        opened.videos = {f"file://{row['video']}"}
        assert opened.text(".crumbs span:nth-child(2)") == row["question_id"]
        assert opened.values("line.moment", "moment") == [(pytest.approx(start_s),)]


def test_a_video_that_was_moved_away_is_said(demo_output, demo_page, open_page, tmp_path):
    page = tmp_path / "moved.html"
    page.write_text(demo_page.read_text().replace("archive/videos/v0", "archive/nowhere/v0"))
    with open_page(page, expects_complaints=True) as opened:
        opened.page.click(".spans a.time")
        opened.page.wait_for_selector("text=The video is not to be had any more")
        opened.videos = {url.partition("#")[0] for url in opened.requests if url.endswith(".mp4")}
    without = tmp_path / "without.html"
    assert report_main([str(demo_output), "--html", str(without), "--no-video-links"]) == 0
    with open_page(without) as opened:
        opened.page.click(".spans a.time")
        assert opened.page.locator("video").count() == 0
        opened.page.wait_for_selector("line.moment", state="attached")
