"""The page's server over HTTP: a small archive, the demo model, and clients that ask, wait, go away and pry."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import fsspec
import pytest

from jobs.run import main as run_main
from jobs.serve import main
from pipeline import answer_video, load_video_model
from pipeline.models.qwen.qwen2_5_vl import Qwen25VL
from pipeline.passes.token_record import unpack_tokens
from pipeline.results.finished import read_answers
from pipeline.serving import video_session
from pipeline.video.isolated import IsolatedReader
from tests.integration.served_page import events_of, serving

SETTINGS = ("sampling.frames_per_group=32", "sampling.max_frames=160")
NUM_GROUPS = 5


@pytest.fixture(scope="module")
def videos(archive):
    return sorted(str(path) for path in (Path(archive).parent / "videos").iterdir())


@pytest.fixture(scope="module")
def output(archive, tmp_path_factory):
    """Answers of a run about the first video's and the second's questions."""
    folder = tmp_path_factory.mktemp("served") / "out"
    command = ["--manifest", str(archive), "--output", str(folder), "--model", "demo", "--executor", "serial"]
    for setting in SETTINGS:
        command += ["--set", setting]
    assert run_main([*command, "--method", "adapttoken-lite", "--log-level", "error"]) == 0
    return folder


@pytest.fixture(scope="module")
def client(output):
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    with serving(str(output), "--model", "demo", "--method", "adapttoken", *sets) as opened:
        yield opened


@pytest.fixture
def gate(monkeypatch):
    """While it is shut, no group's score is told: a question takes as long as a test needs."""
    opened, real = threading.Event(), video_session.VideoSession._describe_score

    def describe(self, *args):
        assert opened.wait(60)
        return real(self, *args)

    monkeypatch.setattr(video_session.VideoSession, "_describe_score", describe)
    yield opened
    opened.set()


def names_of(events):
    return [name for name, _ in events]


QUESTION = {
    "question": "What color is the star?",
    "options": ["red", "green", "blue", "purple"],
    "method": "adapttoken",
}


def test_an_answer_is_told_in_order_and_is_the_one_that_the_plain_loop_gives(client, videos):
    events = client.ask(video=videos[0], **QUESTION)
    expected = ["queued", "began", "planned", *["scored"] * NUM_GROUPS, "answering", "answered"]
    assert [name for name in names_of(events) if name != "reading"] == expected
    assert names_of(events)[3] == "reading"
    said = dict(events)
    assert said["planned"]["num_groups"] == NUM_GROUPS
    model, config = load_video_model("demo", method="adapttoken", settings=SETTINGS)
    asked = [(QUESTION["question"], QUESTION["options"])]
    (found,) = answer_video(videos[0], asked, model=model, config=config)
    scored = [one for name, one in events if name == "scored"]
    assert [one["entropy"] for one in scored] == [score.entropy for score in found.scores]
    assert [one["group_index"] for one in scored] == [score.group_index for score in found.scores]
    assert [one["visit"] for one in scored] == [1, 2, 3, 4, 5]
    status, shown = client.json(f"/api/answers/{said['answered']['entry']['key']}")
    assert status == 200
    assert shown["detail"]["answer"] == found.answer
    assert shown["detail"]["num_tokens_kept"] == len(unpack_tokens(found.final.tokens))
    assert [span[:2] for span in shown["detail"]["spans"]] == [[s.start_s, s.end_s] for s in found.evidence]
    facts = dict(map(tuple, shown["detail"]["facts"]))
    assert (facts["model"], facts["method"]) == ("demo", "adapttoken")


@pytest.fixture
def work(monkeypatch):
    """How often a video was read, and a group encoded and prefilled."""
    counts = Counter()
    for name, kind in (("decode", IsolatedReader), ("encode", Qwen25VL), ("prefill", Qwen25VL)):
        real = getattr(kind, name)

        def run(self, *args, name=name, real=real, **more):
            counts[name] += 1
            return real(self, *args, **more)

        monkeypatch.setattr(kind, name, run)
    return counts


def test_a_further_question_decodes_and_prefills_nothing_and_gives_the_same_bits(client, videos, work):
    question = QUESTION | {"video": videos[1]}
    first, cost = client.ask(**question), dict(work)
    again = client.ask(**question)
    assert cost["decode"] >= 1
    assert (cost["encode"], cost["prefill"]) == (NUM_GROUPS, NUM_GROUPS)
    assert dict(work) == cost
    assert [dict(events)["planned"]["num_kept"] for events in (first, again)] == [0, NUM_GROUPS]
    assert [seen_in(client, events) for events in (first, again)] == [seen_in(client, first)] * 2


def seen_in(client, events):
    """What does not hang on the clock."""
    (key,) = [said["entry"]["key"] for name, said in events if name == "answered"]
    detail = client.json(f"/api/answers/{key}")[1]["detail"]
    scores = [(said["group_index"], said["entropy"], said["response"]) for name, said in events if name == "scored"]
    names = ("answer", "probabilities", "spans", "patches", "groups", "num_tokens_kept", "warnings")
    return scores, {name: detail[name] for name in names}


def test_where_nothing_can_be_kept_every_question_reads_again_and_gives_the_same_bits(client, videos, output, work):
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    with serving(str(output), "--model", "demo", "--keep-gib", "0", *sets) as without:
        twice = [without.ask(video=videos[1], **QUESTION) for _ in range(2)]
        assert work["encode"] == work["prefill"] == 2 * NUM_GROUPS
        assert work["decode"] >= 2
        kept = client.ask(video=videos[1], **QUESTION)
        assert [seen_in(without, events) for events in twice] == [seen_in(client, kept)] * 2


def test_lite_stops_early_and_says_so(client, videos):
    events = client.ask(
        video=videos[0], **(QUESTION | {"method": "adapttoken-lite", "question": "What color is the ring?"})
    )
    entry = dict(events)["answered"]["entry"]
    scored = names_of(events).count("scored")
    assert entry["num_scored"] == scored
    assert dict(events)["answering"]["has_stopped"] == (entry["stop_reason"] == "confident")
    assert dict(events)["planned"]["stop_entropy"] > 0


def test_two_questions_at_once_are_answered_one_after_the_other(client, videos, gate):
    with client.asking(QUESTION | {"video": videos[0], "question": "First?"}) as first:
        before = events_of(first)
        assert [next(before)[0] for _ in range(3)] == ["queued", "began", "planned"]
        with client.asking(QUESTION | {"video": videos[1], "question": "Second?"}) as second:
            after = events_of(second)
            assert next(after) == ("queued", {"num_before": 1})
            gate.set()
            assert names_of(before)[-1] == "answered"
            assert names_of(after)[-1] == "answered"


def test_who_goes_away_withdraws_the_question_and_the_next_one_is_answered(client, videos, gate, monkeypatch):
    scored, real = [], video_session.VideoSession._describe_score
    monkeypatch.setattr(video_session.VideoSession, "_describe_score", lambda *args: scored.append(1) or real(*args))
    with client.asking(QUESTION | {"video": videos[0], "question": "Nobody waits for it?"}) as reply:
        assert [next(events_of(reply))[0] for _ in range(3)] == ["queued", "began", "planned"]
    assert client.server.wait_until_idle(30)
    gate.set()
    assert names_of(client.ask(video=videos[0], **(QUESTION | {"question": "And this?"})))[-1] == "answered"
    assert NUM_GROUPS <= len(scored) <= 1 + NUM_GROUPS  # of the first it may have begun one group
    assert client.json("/api/answers?search=nobody%20waits")[1]["num_found"] == 0


def test_who_goes_away_while_waiting_is_never_begun(client, videos, gate):
    with client.asking(QUESTION | {"video": videos[0], "question": "First of two?"}) as first:
        before = events_of(first)
        next(before)
        with client.asking(QUESTION | {"video": videos[1], "question": "Withdrawn in the queue?"}) as second:
            assert next(events_of(second)) == ("queued", {"num_before": 1})
        assert client.server.wait_until_idle(30, num_open=1)
        gate.set()
        assert names_of(before)[-1] == "answered"
    assert client.json("/api/answers?search=withdrawn")[1]["num_found"] == 0


BAD = {
    "no text": ({"question": " "}, 400, "the question is empty"),
    "one option": ({"options": ["red"]}, 400, "options needs at least 2 answers"),
    "options are no list": ({"options": "red"}, 400, "options must be a list of texts"),
    "no such method": ({"method": "magic"}, 400, "there is no method 'magic' here, but adapttoken, adapttoken-lite"),
    "much too long": ({"question": "x" * 30_000}, 400, "at most 20,000 can be asked"),
    "a file of this machine": ({"video": "/etc/passwd"}, 404, "there is no video '/etc/passwd' here"),
    "a way out": ({"video": "../../etc/passwd"}, 404, "there is no video"),
    "a video beside it": ({"video": "videos/v000.mp4"}, 404, "there is no video"),
    "no video": ({"video": None}, 400, "an object with the texts video and question"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_question_is_refused_in_one_line(client, videos, bad):
    change, status, text = BAD[bad]
    found = client.ask(**({"video": videos[0]} | QUESTION | change))
    assert found[0] == status
    assert text in found[1]
    assert "\n" not in found[1]


def test_what_is_no_question_at_all_is_refused(client):
    for body, content_type, status in (
        ("{", "application/json", 400),
        ("[1]", "application/json", 400),
        ("[" * 100_000, "application/json", 400),
        (json.dumps(QUESTION), "text/plain", 415),
        (json.dumps({"question": "x" * 400_000}), "application/json", 413),
    ):
        with client.asking(body, content_type) as reply:
            assert (reply.status, list(json.loads(reply.read()))) == (status, ["error"])


def test_a_question_that_fails_while_it_is_answered_fails_alone(client, videos, monkeypatch):
    real = video_session.VideoSession._describe_score

    def fail(self, answer, started_s):
        if "break" in answer.question.text:
            raise RuntimeError("CUDA error: something\nlong")
        return real(self, answer, started_s)

    monkeypatch.setattr(video_session.VideoSession, "_describe_score", fail)
    events = client.ask(video=videos[0], **(QUESTION | {"question": "Does it break?"}))
    assert events[-1] == ("failed", {"error": "RuntimeError: CUDA error: something long"})
    too_many = client.ask(video=videos[0], **(QUESTION | {"options": [str(n) for n in range(60)]}))
    assert too_many[-1][0] == "failed"
    assert "options" in too_many[-1][1]["error"]
    assert names_of(client.ask(video=videos[0], **QUESTION))[-1] == "answered"


def test_answers_of_the_folder_are_listed_and_opened_with_pictures(client, output):
    rows = {row["question_key"]: row for row in read_answers(str(output)).to_pylist()}
    status, page = client.json("/api/answers?show=early&method=adapttoken-lite&sort=unsure")
    assert status == 200
    assert page["num_found"] == sum(row["stop_reason"] == "confident" for row in rows.values())
    key, row = next((key, row) for key, row in rows.items() if row["evidence"])
    _, shown = client.json(f"/api/answers/{key}")
    assert shown["entry"]["question"] == row["question"]
    assert {one["image"] for one in shown["detail"]["frames"]} == {None}
    _, frames = client.json(f"/api/answers/{key}/frames")
    assert [one["start_s"] for one in frames] == [one["start_s"] for one in shown["detail"]["frames"]]
    assert all(one["image"].startswith("data:image/webp;base64,") for one in frames)


def test_a_video_is_played_in_parts(client, output):
    row = read_answers(str(output)).slice(0, 1).to_pylist()[0]
    content, path = Path(row["video"]).read_bytes(), f"/api/answers/{row['question_key']}/video"
    status, body, headers = client.get(path)
    assert (status, body, headers["Accept-Ranges"]) == (200, content, "bytes")
    assert headers["Content-Type"] == "video/mp4"
    for asked, expected in (("bytes=10-19", content[10:20]), ("bytes=-5", content[-5:]), ("bytes=100-", content[100:])):
        status, body, headers = client.get(path, Range=asked)
        assert (status, body) == (206, expected)
        assert headers["Content-Range"].endswith(f"/{len(content)}")
    assert client.get(path, Range=f"bytes={len(content)}-")[0] == 416


@pytest.mark.parametrize(
    "path",
    [
        "/api/answers/nobody",
        "/api/answers/nobody/video",
        "/api/answers/nobody/frames",
        "/api/answers/..%2F..%2Fetc%2Fpasswd/video",
        "/api/answers/' OR 1=1 --".replace(" ", "%20"),
        "/../../../etc/passwd",
        "/etc/passwd",
        "/static/page.js",
    ],
)
def test_nothing_but_answers_is_to_be_had(client, path):
    status, found = client.json(path)
    assert status == 404
    assert list(found) == ["error"]


@pytest.mark.parametrize("query", ["page=x", "page=-1", "sort=place", "show=1%3D1", "page=99999999999999999999999"])
def test_a_page_that_there_cannot_be_is_refused(client, query):
    status, found = client.json(f"/api/answers?{query}")
    assert (status, list(found)) == (400, ["error"])


def test_a_video_that_was_changed_since_is_not_played(output, tmp_path):
    copy = tmp_path / "out"
    row = read_answers(str(output)).slice(0, 1).to_pylist()[0]
    shutil.copytree(output, copy)
    with serving(str(copy), "--no-ask") as opened:
        path = f"/api/answers/{row['question_key']}/video"
        assert opened.get(path)[0] == 200
        before = Path(row["video"]).stat()
        os.utime(row["video"], (0, 0))
        try:
            status, found = opened.json(path)
        finally:
            os.utime(row["video"], ns=(before.st_atime_ns, before.st_mtime_ns))
        assert status == 404
        assert "is not the one of the answer" in found["error"]
        status, reason = opened.ask(video=row["video"], **QUESTION)
        assert (status, "start it with --model" in reason) == (403, True)
    with serving(str(copy), "--no-ask", "--no-video-links") as opened:
        assert opened.get(path)[0] == 404
        assert opened.json(f"/api/answers/{row['question_key']}")[1]["detail"]["video_url"] is None


def test_the_page_may_only_ask_its_own_server(client):
    status, body, headers = client.get("/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts["default-src"] == "'none'"
    assert (parts["connect-src"], parts["media-src"], parts["frame-ancestors"]) == ("'self'", "'self'", "'none'")
    assert b"http://" not in body.replace(b"http://www.w3.org", b"")


WRONG = {
    "nothing there": (["nowhere"], "there is no nowhere: name the --output of a run, or videos"),
    "no model": (["OUTPUT"], "no model is named: add --model"),
    "a folder without answers": (["FOLDER", "--model", "demo"], "answers is not there: name the --output of a run"),
    "no token file": (["OUTPUT", "--no-ask", "--token-file", "nowhere"], "No such file"),
    "short token": (["OUTPUT", "--no-ask", "--token-file", "TOKEN"], "at least 16 are needed"),
    "two folders": (["OUTPUT", "OUTPUT2", "--no-ask"], "one output folder at a time"),
    "a wrong setting": (["OUTPUT", "--model", "demo", "--set", "tua=1"], "tua"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_the_command_is_said_in_one_line(wrong, output, tmp_path, capsys):
    words, text = WRONG[wrong]
    (tmp_path / "token").write_text("short\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "two" / "answers").mkdir(parents=True)
    places = {"OUTPUT": output, "FOLDER": tmp_path / "empty", "TOKEN": tmp_path / "token", "OUTPUT2": tmp_path / "two"}
    assert main([str(places.get(word, word)) for word in words]) in (1, 2)
    said = capsys.readouterr().err
    assert text in said
    assert len(said.strip().splitlines()) == 1


def test_without_its_extra_the_command_says_what_to_install(output, monkeypatch, capsys):
    monkeypatch.setattr("jobs.wiring.extras.find_spec", lambda name: None)
    assert main([str(output), "--no-ask"]) == 2
    assert "pip install 'adapttoken-ray[serve]'" in capsys.readouterr().err


def test_answers_on_s3_are_browsed_and_videos_there_are_asked_about(output, videos, s3_endpoint):
    storage = {"endpoint_url": s3_endpoint, "key": "k", "secret": "hidden-secret"}
    store = fsspec.filesystem("s3", **storage)
    store.mkdir("served")
    store.put(str(output), "served/out", recursive=True)
    store.put(videos[0], "served/film.mp4")
    more = ["--storage-options", json.dumps(storage), "--set", "sampling.max_frames=64"]
    with serving("s3://served/out", "s3://served/film.mp4", "--model", "demo", *more) as opened:
        (entry, *_) = opened.json("/api/answers?sort=unsure")[1]["entries"]
        assert opened.json(f"/api/answers/{entry['key']}")[1]["entry"] == entry
        assert "s3://served/film.mp4" in opened.json("/api/head")[1]["videos"]
        events = opened.ask(video="s3://served/film.mp4", **QUESTION)
        assert names_of(events)[-1] == "answered"
        _, found = opened.json(f"/api/answers/{events[-1][1]['entry']['key']}")
        assert found["detail"]["video_url"] is None
        assert opened.json(f"/api/answers/{events[-1][1]['entry']['key']}/frames")[1][0]["image"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_a_page_is_open(output, number):
    command = [sys.executable, "-m", "jobs.serve", str(output), "--no-ask", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        address = next(line for line in process.stdout if line.startswith("http://")).strip()
        port = int(address.rstrip("/").rpartition(":")[2])
        with closing(socket.create_connection(("127.0.0.1", port))):
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines()[-1], err) == (0, "ended", "")
