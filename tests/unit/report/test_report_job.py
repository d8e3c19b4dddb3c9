"""The page as a file: which rows, what their data says, and that nothing in it can become markup or a connection."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib import resources

import pytest

from jobs.report import main
from pipeline.evaluation.analysis.asked_questions import read_questions
from pipeline.evaluation.scoring.answers import answer_sets
from pipeline.report.cards import MAX_PATCHES, MAX_SPANS, detail, list_entry
from pipeline.report.evidence_frames import read_patches
from pipeline.report.report import ReportOptions, make_report
from pipeline.results.demo_warning import DEMO_MODEL_WARNING
from pipeline.results.finished import read_answers
from pipeline.results.rows import EvidenceRow, KeptTokens
from tests.unit.report.report_rows import EVIDENCE, HOSTILE, make_row, make_video, write_run
from tests.unit.results.answer_rows import row

TAGS = ("script", "style")
HOSTILE_NAME = "<img src=x> & {style}"


class Page(HTMLParser):
    """Elements as a browser sees them, and the content of each script and style."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.contents, self._open = [], {}, None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._open = dict(attributes).get("id", tag) if tag in ("script", "style", "title") else None

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open:
            self.contents[self._open] = self.contents.get(self._open, "") + data

    def data(self, name):
        return json.loads(self.contents[name])


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / HOSTILE_NAME
    folder.mkdir()
    video = make_video(folder / "b.mp4")
    missing = {"video": str(folder / "a.mp4"), "video_fingerprint": "f"}
    rows = [
        make_row("a", video, question=HOSTILE, warnings=("2 of 9 frames are damaged",)),
        make_row("b", video, options=None, option_probabilities=None, answer="blue", answer_text="blue"),
        make_row("c", video, **missing, kept_tokens=None, evidence=EVIDENCE[:1]),
        row("d", "failed", question="Why?", method="adapttoken-lite", **missing),
    ]
    write_run(folder, rows, expected=["B", HOSTILE, "A", None])
    other = [make_row("e", video, run="run-2", method="adapttoken", config_hash="d", stop_reason="all_groups")]
    write_run(folder, other, run_id="run-2")
    return folder


@pytest.fixture(scope="module")
def page(output):
    return Page(make_report(str(output), ReportOptions(usd_per_gpu_hour=3.6)).decode())


def test_the_head_says_first_how_many_answers_are_of_a_toy_that_does_not_know_the_videos(tmp_path, page):
    video = make_video(tmp_path / "ride.mp4")
    warned = {"warnings": (DEMO_MODEL_WARNING,)}
    write_run(tmp_path, [make_row("a", video, **warned), make_row("b", video, **warned), make_row("c", video)])
    head = Page(make_report(str(tmp_path), ReportOptions()).decode()).data("head")
    assert head["notices"] == [f"2 of 3 questions: {DEMO_MODEL_WARNING}."]
    assert [one["model"] for one in head["totals"]["methods"]] == ["demo"]
    assert page.data("head")["notices"] == []


def numbers(page):
    return range(len(page.data("head")["entries"]))


def by_id(page, question_id):
    entries = page.data("head")["entries"]
    number = next(number for number in numbers(page) if entries[number]["id"] == question_id)
    return entries[number], page.data(f"detail-{number}")


def test_no_text_becomes_markup_and_no_connection_is_allowed(page):
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert [one.get("type") for one in scripts] == ["application/json", None] + ["application/json"] * 5
    assert not {"img", "link", "iframe", "object", "a href"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not {"src", "style", "onload", "onerror", "onclick"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    digest = {name: base64.b64encode(hashlib.sha256(page.contents[name].encode()).digest()).decode() for name in TAGS}
    assert parts == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest['script']}'",
        "style-src": f"'sha256-{digest['style']}'",
        "img-src": "data:",
        "media-src": "file:",  # b.mp4 lies beside the page
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert by_id(page, "id-a")[0]["question"] == HOSTILE
    assert page.contents["title"] == f"Answers of {HOSTILE_NAME}"


def test_the_front_end_writes_text_only():
    """No way from a string to markup or code is used."""
    files = [one for one in resources.files("pipeline.report").iterdir() if one.name.endswith((".js", ".html"))]
    assert len(files) == 8
    for one in files:
        code = one.read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|fetch\(|XMLHttp", code
        )
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", code)


def test_the_list_says_what_the_rows_hold(page):
    entry, _ = by_id(page, "id-a")
    shown = {name: entry[name] for name in ("answer", "expected", "is_right", "probability", "entropy", "total_s")}
    assert shown == {
        "answer": "B. blue",
        "expected": "B",
        "is_right": True,
        "probability": 0.75,
        "entropy": 0.5,
        "total_s": 3.5,
    }
    is_right = {one["id"]: one["is_right"] for one in page.data("head")["entries"]}
    assert is_right == {"id-a": True, "id-b": False, "id-c": False, "id-d": None, "id-e": None}
    assert by_id(page, "id-d")[0]["error_class"] == "worker_lost"


def test_the_details_hold_the_values_of_the_row(page):
    _, shown = by_id(page, "id-a")
    assert shown["spans"] == [[1.0, 3.0, 0.875, 3], [4.0, 5.0, 0.125, 1]]
    assert shown["patches"] == [
        [1.0, 2.0, 2, 0.375, 0.125],
        [2.0, 3.0, 1, 0.5, 1.25],
        [4.0, 5.0, 1, 0.125, 0.125],
    ]
    assert shown["groups"] == {
        "group_index": [0, 2],
        "num_tokens_kept": [1, 3],
        "entropy": [1.25, 0.125],
        "response": [0, 1],
        "responses": ["A", "B"],
        "num_planned": 4,
        "stop_reason": "confident",
        "num_tokens_bought": 6,
    }
    assert shown["stop_entropy"] == 0.2  # of the run's config.yaml
    assert by_id(page, "id-e")[1]["stop_entropy"] is None  # its method does not stop
    assert (shown["grid"], shown["warnings"]) == ([2, 3], ["2 of 9 frames are damaged"])
    assert shown["manifest"] == [["expected", "B"]]
    assert shown["gpu_s"] == 2.5


def test_pictures_lie_in_the_page_and_missing_ones_say_why(page, output):
    frames = by_id(page, "id-a")[1]["frames"]
    assert [(one["start_s"], one["weight"], one["tokens"]) for one in frames] == [
        (1.0, 0.375, [[0, 1, 0.25], [1, 1, 0.125]]),
        (2.0, 0.5, [[1, 0, 0.5]]),
        (4.0, 0.125, [[0, 2, 0.125]]),
    ]
    assert all(one["image"].startswith("data:image/webp;base64,UklGR") for one in frames)
    (missing,) = by_id(page, "id-c")[1]["frames"]
    assert (missing["image"], missing["tokens"]) == (None, [])
    assert f"there is no video at {output}/a.mp4" in missing["reason"]


def test_the_head_sums_up_all_rows_by_method_and_run(page):
    totals, runs = page.data("head")["totals"], page.data("head")["runs"]
    counts = {name: totals[name] for name in ("num_questions", "num_ok", "num_failed", "num_videos", "num_judged")}
    assert counts == {"num_questions": 5, "num_ok": 4, "num_failed": 1, "num_videos": 2, "num_judged": 3}
    assert (totals["num_right"], totals["failures_by_class"], totals["num_stopped_early"]) == (1, {"worker_lost": 1}, 3)
    assert (totals["gpu_s"], totals["usd"]) == (10.0, pytest.approx(0.01))
    methods = [(one["method"], one["num_questions"], one["gpu_s"]) for one in totals["methods"]]
    assert methods == [("adapttoken", 1, 2.5), ("adapttoken-lite", 4, 7.5)]
    assert [(one["run_id"], one["wall_s"], one["num_failed"]) for one in runs] == [("run-1", 2.0, 1), ("run-2", 2.0, 0)]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], {"id-a", "id-b", "id-c", "id-d", "id-e"}),
        (["--run", "run-2"], {"id-e"}),
        (["--question-id", "id-a", "--question-id", "id-d"], {"id-a", "id-d"}),
        (["--limit", "2"], {"id-c", "id-d"}),  # of the first video
    ],
)
def test_options_choose_the_rows(output, tmp_path, capsys, arguments, ids):
    target = tmp_path / "page.html"
    assert main([str(output), "--html", str(target), "--thumbnails-per-question", "0", *arguments]) == 0
    assert str(target) in capsys.readouterr().out
    made = Page(target.read_text())
    assert {one["id"] for one in made.data("head")["entries"]} == ids
    assert all(made.data(f"detail-{number}")["frames"] == [] for number in numbers(made))


def test_pictures_stop_at_their_limit(output):
    one_picture = ReportOptions(question_ids=["id-a"], num_thumbnails=1)
    (frame,) = Page(make_report(str(output), one_picture).decode()).data("detail-0")["frames"]
    size_bytes = len(base64.b64decode(frame["image"].partition(",")[2]))
    limited = ReportOptions(question_ids=["id-a"], num_thumbnails=2, max_image_bytes=size_bytes)
    frames = Page(make_report(str(output), limited).decode()).data("detail-0")["frames"]
    assert sorted(one["image"] is None for one in frames) == [False, True]
    assert {one["reason"] for one in frames} == {
        None,
        "left out: the pictures of this page have reached --max-image-mib",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "r9"], "holds 5 answers, none of run 'r9'; its last runs are ['run-1', 'run-2']"),
        (["--question-id", "x"], "none of the questions ['x']"),
        (["--limit", "0"], "limit must be at least 1, got 0"),
        (["--thumbnails-per-question", "-1"], "num_thumbnails must be at least 0, got -1"),
    ],
)
def test_nothing_to_show_ends_with_exit_code_2(output, capsys, arguments, message):
    assert main([str(output), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_manifest_row_that_could_not_be_read_is_shown_as_such(tmp_path):
    write_run(tmp_path, [row("a", "failed", video="", question="")])
    (entry,) = Page(make_report(str(tmp_path), ReportOptions()).decode()).data("head")["entries"]
    assert (entry["video"], entry["question"], entry["status"]) == ("(no video)", "(no question)", "failed")


def test_an_empty_folder_is_named(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert f"{tmp_path} holds no answers" in capsys.readouterr().err


def test_thousands_of_tokens_are_joined_by_time_and_light_spans_left_out(tmp_path):
    number = 3 * MAX_PATCHES
    starts = [float(start) for start in range(0, 2 * number, 2)]
    tokens = KeptTokens(
        start_s=tuple(starts),
        group_index=(0, 2) * (number // 2),
        token_row=(0,) * number,
        token_column=(1,) * number,
        weight=(1 / 1024,) * number,
    )
    spans = tuple(EvidenceRow(start_s=s, end_s=s + 1, weight=1 / number, num_tokens=1) for s in starts)
    one = make_row("a", __file__, kept_tokens=tokens, evidence=spans, duration_s=2.0 * number)
    write_run(tmp_path, [one])
    shown = Page(make_report(str(tmp_path), ReportOptions(num_thumbnails=0)).decode()).data("detail-0")
    assert len(shown["patches"]) == MAX_PATCHES
    assert sum(patch[2] for patch in shown["patches"]) == number
    assert sum(patch[3] for patch in shown["patches"]) == pytest.approx(number / 1024)
    assert {patch[4] for patch in shown["patches"]} == {0.125}  # the surest of its groups
    assert (len(shown["spans"]), shown["num_more_spans"]) == (MAX_SPANS, number - MAX_SPANS)


def test_numbers_that_json_has_no_word_for_are_null(output):
    (found,) = [one for one in read_answers(str(output)).to_pylist() if one["question_id"] == "id-a"]
    found["answer_entropy"], found["option_probabilities"] = float("nan"), [float("inf"), 0.5, 1 / 3]
    assert detail(found, read_patches(found, None), stop_entropy=None)["probabilities"] == [None, 0.5, 0.333333]
    assert list_entry(found)["entropy"] is None


@pytest.mark.parametrize("summary", ['{"run_id": ', '{"run_id": {}}', '{"run_id": "run-2", "num_ok": {}}'])
def test_drifting_columns_and_broken_files_do_not_stop_the_page(tmp_path, caplog, summary):
    video = make_video(tmp_path / "ride.mp4")
    write_run(tmp_path, [make_row("a", video)], expected=["B"])
    write_run(tmp_path, [make_row("b", video, run="run-2")], run_id="run-2", expected=[7])
    (tmp_path / "runs" / "run-2" / "summary.json").write_text(summary)
    (tmp_path / "runs" / "run-2" / "config.yaml").write_text("method: [")
    (tmp_path / "answers" / "part-broken.parquet").write_bytes(b"PAR1 and no more")
    found = Page(make_report(str(tmp_path), ReportOptions()).decode()).data("head")
    assert [(run["run_id"], run["method"] is None) for run in found["runs"]] == [("run-1", False), ("run-2", True)]
    assert [entry["is_right"] for entry in found["entries"]] == [True, False]
    assert caplog.text.count("is not readable: what it says of its run is left out") == 2
    assert "part-broken.parquet is not readable" in caplog.text


def test_evaluations_and_analyses_read_drifting_columns(tmp_path):
    video = make_video(tmp_path / "ride.mp4")
    write_run(tmp_path, [make_row("a", video)], expected=["B"])
    write_run(tmp_path, [make_row("b", video, run="run-2")], run_id="run-2", expected=[7])
    table = read_answers(str(tmp_path))
    (answers,) = answer_sets(table, label="night")
    assert {one.question_id: one.expected for one in answers.answers} == {"id-a": "B", "id-b": "7"}
    assert {one.question_id: one.expected for one in read_questions(table)} == {"id-a": "B", "id-b": "7"}
