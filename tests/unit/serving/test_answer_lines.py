"""Pages that DuckDB makes, against what Python finds by looking at every row."""

from contextlib import closing

import pyarrow as pa
import pytest

from pipeline.report.cards import list_entry
from pipeline.report.totals import describe_totals
from pipeline.results.demo_warning import DEMO_MODEL_WARNING
from pipeline.results.finished import read_answers
from pipeline.results.schema import results_table
from pipeline.serving.answer_lines import PAGE_LINES, AnswerLines, LineQuery
from pipeline.serving.line_totals import sum_up
from tests.unit.report.report_rows import HOSTILE, make_row, make_video, write_run

NUM = 253
WORDS = ("Red", "green", "BLUE", "50%", "o'clock", "a_b")


def make_many(folder):
    video = make_video(folder / "b.mp4")
    rows = []
    for number in range(NUM):
        word = WORDS[number % len(WORDS)]
        columns = {"answer_entropy": (number * 37 % 101) / 100, "total_s": number * 17 % 50 / 10, "score_s": 0.25}
        question = f"What is {word} in part {number % 40:02d}?"
        columns |= {"method": "adapttoken-lite" if number % 3 else "adapttoken", "answer": "ABC"[number % 3]}
        columns |= {"warnings": (DEMO_MODEL_WARNING,) if number % 50 == 0 else ()}
        rows.append(make_row(f"key-{number:03d}", video, question=question, **columns))
    expected = ["B" if number % 5 else None for number in range(NUM)]
    write_run(folder / "out", rows, expected=expected)
    return str(folder / "out")


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return make_many(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def lines(output):
    with closing(AnswerLines(output)) as opened:
        yield opened


@pytest.fixture(scope="module")
def entries(output):
    return [list_entry(row) for row in read_answers(output).to_pylist()]


def all_pages(lines, **query):
    found, page = [], 0
    while True:
        part = lines.page(LineQuery(**query, page=page))
        assert len(part["entries"]) <= PAGE_LINES
        found += part["entries"]
        page += 1
        if page * PAGE_LINES >= part["num_found"]:
            assert part["num_all"] == NUM
            assert len(found) == part["num_found"]
            return found


def test_the_pages_together_hold_every_line_once(lines, entries):
    found = all_pages(lines)
    assert found == sorted(entries, key=lambda one: (one["video"], one["key"]))


SHOWN = {
    "ok": lambda one: one["status"] == "ok",
    "failed": lambda one: one["status"] != "ok",
    "right": lambda one: one["is_right"] is True,
    "wrong": lambda one: one["is_right"] is False,
    "early": lambda one: one["stop_reason"] == "confident",
    "here": lambda one: False,
}


@pytest.mark.parametrize("show", SHOWN)
def test_a_filter_shows_what_the_report_s_filter_shows(lines, entries, show):
    found = all_pages(lines, show=show)
    assert {one["key"] for one in found} == {one["key"] for one in entries if SHOWN[show](one)}


@pytest.mark.parametrize(
    "search", ["red", "PART 07", "part 7 green", "50%", "o'clock", "a_b", "%", "_", "zeppelin", "b.mp4"]
)
def test_a_search_finds_the_lines_that_hold_all_words_as_they_are_written(lines, entries, search):
    def texts(one):
        parts = (one["question"], one["answer"], "red blue green", one["video"], one["id"], one["error_class"])
        return "\n".join(part or "" for part in parts).lower()

    words = search.lower().split()
    expected = {one["key"] for one in entries if all(word in texts(one) for word in words)}
    assert {one["key"] for one in all_pages(lines, search=search)} == expected


SORTED = {
    "unsure": lambda one: -one["entropy"],
    "cost": lambda one: -one["total_s"],
    "question": lambda one: one["question"].lower(),
}


@pytest.mark.parametrize("sort", SORTED)
def test_an_order_holds_over_the_edges_of_pages(lines, entries, sort):
    found = [SORTED[sort](one) for one in all_pages(lines, sort=sort)]
    assert found == sorted(map(SORTED[sort], entries))
    keys = [one["key"] for one in all_pages(lines, sort=sort, method="adapttoken", show="wrong")]
    assert len(keys) == len(set(keys)) > 0


def test_the_sums_are_those_of_the_report(lines, output, entries):
    answers = read_answers(output)
    told = describe_totals(answers, entries, usd_per_gpu_hour=None)
    for one in told["methods"]:
        del one["failures_by_class"]  # which the page does not draw by method
    found = sum_up(lines)
    assert found["notices"] == [f"6 of {NUM} questions: {DEMO_MODEL_WARNING}."]
    assert found["totals"].keys() == told.keys()
    for name, value in told.items():
        assert near(found["totals"][name], value), name


def near(one, other):
    if isinstance(other, list):
        return len(one) == len(other) and all(map(near, one, other))
    if isinstance(other, dict):
        return one.keys() == other.keys() and all(near(one[name], other[name]) for name in other)
    return one == pytest.approx(other) if isinstance(other, float) else one == other


def test_a_row_is_the_whole_row(lines, output):
    rows = {row["question_key"]: row for row in read_answers(output).to_pylist()}
    (row,) = lines.row("key-007").to_pylist()
    assert row == rows["key-007"]
    assert lines.row("nobody") is None
    assert lines.row("' OR true --") is None


@pytest.mark.parametrize("wrong", [{"sort": "place; DROP"}, {"show": "true"}, {"page": -1}])
def test_what_is_no_order_or_filter_never_reaches_sql(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LineQuery(**wrong)


def test_an_answer_given_here_stands_first_and_stays_when_the_folder_is_read_again(tmp_path):
    video = make_video(tmp_path / "b.mp4")
    write_run(tmp_path / "out", [make_row("old", video)])
    with closing(AnswerLines(str(tmp_path / "out"))) as lines:
        before = lines.describe_state()
        given = results_table([make_row("new", video, question=HOSTILE)], pa.table({}))
        assert lines.add(given)["question"] == HOSTILE
        lines.add(given)  # asked once more: one line
        assert [one["key"] for one in lines.page(LineQuery())["entries"]] == ["new", "old"]
        assert [one["key"] for one in lines.page(LineQuery(show="here"))["entries"]] == ["new"]
        assert lines.row("new") == given
        other = make_video(tmp_path / "c.mp4")
        write_run(tmp_path / "out", [make_row("later", other)], run_id="run-2")
        assert lines.describe_state() != before
        lines.read_again()
        assert [one["key"] for one in lines.page(LineQuery())["entries"]] == ["new", "old", "later"]
        assert lines.videos(limit=9) == [str(video), str(other)]
        assert lines.videos("C.mp4", limit=9) == [str(other)]


def test_without_a_folder_there_are_only_the_answers_given_here(tmp_path):
    with closing(AnswerLines(None)) as lines:
        assert lines.page(LineQuery())["num_all"] == 0
        assert lines.row("key") is None
        assert sum_up(lines)["totals"]["num_questions"] == 0
        lines.add(results_table([make_row("new", make_video(tmp_path / "b.mp4"))], pa.table({})))
        assert lines.page(LineQuery(search="b.mp4"))["num_found"] == 1
        assert lines.page(LineQuery(search="c.mp4"))["num_found"] == 0
