"""A video folder that is away for a while, at any moment of a run: the same command ends with one answer each."""

import json
import shutil
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from jobs import run
from pipeline.failures import FailureClass, PipelineError
from pipeline.planning import fingerprints
from pipeline.results.committer import AnswerCommitter
from pipeline.results.views import open_database

NUM_VIDEOS, QUESTIONS = 6, ("What color is the star?", "What color is the ring?")
FAST = ("--executor", "serial", "--max-frames", "64", "--frames-per-group", "32", "--progress-every", "0")


@pytest.fixture
def place(archive, model_folder, tmp_path, monkeypatch):
    """Six videos with two questions each; ``answer`` runs the same command and returns its exit code."""

    def never_start(*args, **kwargs):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", never_start)
    return Place(tmp_path, archive.parent / "videos" / "v000.mp4", model_folder)


class Place:
    def __init__(self, folder, source, model):
        self.videos, self.away, self.output = folder / "videos", folder / "away", folder / "out"
        self.videos.mkdir()
        for number in range(NUM_VIDEOS):
            shutil.copyfile(source, self.videos / f"v{number}.mp4")
        rows = [
            {
                "question_id": f"{number}-{ask}",
                "video": f"videos/v{number}.mp4",
                "question": text,
                "options": ["a", "b"],
            }
            for number in range(NUM_VIDEOS)
            for ask, text in enumerate(QUESTIONS)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "manifest.parquet")
        self._command = ["--manifest", str(folder / "manifest.parquet"), "--output", str(self.output)]
        self._command += ["--model", str(model), *FAST]

    def answer(self, *extra):
        return run.main([*self._command, *extra])

    def take_away(self):
        self.videos.rename(self.away)

    def bring_back(self):
        self.away.rename(self.videos)

    def files(self):
        """Rows as any reader of the files sees them: (question_id, status, num_runs)."""
        paths = sorted(Path(self.output).glob("answers/**/part-*.parquet"))
        rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
        return sorted((row["question_id"], row["status"], row["num_runs"]) for row in rows)

    def views(self):
        """How many rows the views ``answers`` and ``failures`` have."""
        with open_database(str(self.output)) as database:
            return tuple(
                database.execute(f"SELECT count(*) FROM {view}").fetchone()[0] for view in ("answers", "failures")
            )

    def summary(self):
        found = [json.loads(path.read_text()) for path in self.output.glob("runs/*/summary.json")]
        return max(found, key=lambda summary: summary["started_at"])


def all_ok(num_runs):
    return [(f"{number}-{ask}", "ok", num_runs) for number in range(NUM_VIDEOS) for ask in range(len(QUESTIONS))]


@pytest.fixture
def after_first_commit(monkeypatch):
    """Has something done once the first video is on record."""

    def schedule(then):
        plain, pending = AnswerCommitter.commit, [then]

        def commit(self, rows, **others):
            table = plain(self, rows, **others)
            if pending:
                pending.pop()()
            return table

        monkeypatch.setattr(AnswerCommitter, "commit", commit)

    return schedule


def test_a_folder_that_is_away_when_a_run_begins_and_back_for_the_next_leaves_one_answer_per_question(place):
    place.take_away()
    assert place.answer() == 3
    assert place.views() == (12, 12)
    place.bring_back()
    assert place.answer() == 0
    assert place.files() == all_ok(num_runs=2)
    assert place.views() == (12, 0)
    place.take_away()
    assert place.answer() == 0, "what is answered stays answered"
    assert place.files() == all_ok(num_runs=2)
    assert place.summary()["num_skipped"] == 12


def test_a_folder_that_goes_away_for_two_seconds_in_the_middle_of_a_run_fails_nothing(place, after_first_commit):
    def go_away():
        place.take_away()
        threading.Timer(2.0, place.bring_back).start()

    after_first_commit(go_away)
    assert place.answer() == 0
    assert place.files() == all_ok(num_runs=1)


def test_a_folder_that_stays_away_ends_the_run_with_what_to_do_and_nothing_burnt(place, after_first_commit, capsys):
    after_first_commit(place.take_away)
    assert place.answer("--set", "reading.outage_s=5") == 1
    assert "None of them has failed: when it is back, the same command goes on" in capsys.readouterr().err
    assert {status for _, status, _ in place.files()} == {"ok"}
    assert place.summary()["exit_code"] == 1
    place.bring_back()
    assert place.answer() == 0
    assert place.files() == all_ok(num_runs=1)
    assert place.views() == (12, 0)


def test_videos_that_fail_by_circumstance_are_answered_by_the_next_run(place, after_first_commit):
    after_first_commit(place.take_away)
    impatient = ("--set", "reading.outage_s=0", "--set", "execution.max_attempts=1")
    assert place.answer(*impatient) == 3
    failed = [row for row in place.files() if row[1] == "failed"]
    assert failed
    assert place.views() == (12, len(failed))
    place.bring_back()
    assert place.answer() == 0
    assert place.summary()["num_ok"] == len(failed)
    assert place.views() == (12, 0)
    assert len(place.files()) == 12
    assert {num_runs for _, _, num_runs in place.files()} == {1, 2}


def test_a_storage_that_does_not_answer_when_a_run_begins_is_waited_for_and_then_nothing_is_started(
    place, monkeypatch, capsys
):
    pauses_s = []
    monkeypatch.setattr(fingerprints.time, "sleep", pauses_s.append)

    def answer_not(uri, **options):
        raise PipelineError(FailureClass.TRANSFER, f"{uri}: 503")

    monkeypatch.setattr(fingerprints, "video_fingerprint", answer_not)
    assert place.answer("--set", "reading.outage_s=6") == 1
    assert pauses_s == [1.0, 2.0, 3.0]
    assert "the same command goes on" in capsys.readouterr().err
    assert not place.output.exists()
