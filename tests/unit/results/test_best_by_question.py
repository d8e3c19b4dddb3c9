"""The view that ranks the videos of one question: the surest answer first, of equals the most gathered attention."""

import pandas
import pyarrow as pa
import pytest

from pipeline.results.rows import EvidenceRow
from pipeline.results.schema import ADDED_COLUMNS, results_table
from pipeline.results.views import open_database
from pipeline.results.writer import commit_answers


def spans(weight):
    rest = EvidenceRow(start_s=0.0, end_s=1.0, weight=1 - weight, num_tokens=1)
    return (EvidenceRow(start_s=7.0, end_s=9.0, weight=weight, num_tokens=3), rest)


@pytest.fixture
def output(tmp_path, make_result):
    def answered(video, entropy, weight, *, asked_id="which", config_hash="c", **columns):
        key = f"{video}-{asked_id}-{config_hash}"
        return make_result(
            question_id=f"{asked_id}#{video}",
            question_key=key,
            asked_id=asked_id,
            video=video,
            answer_entropy=entropy,
            evidence=spans(weight) if weight else (),
            config_hash=config_hash,
            **columns,
        )

    rows = [
        answered("c", 0.5, 0.9),
        answered("a", 0.1, 0.6),
        answered("b", 0.1, 0.8),
        answered("d", 1.5, None),
        answered("a", 0.7, 0.6, config_hash="other settings"),
        answered("z", 0.2, 0.6, asked_id=None),
    ]
    commit_answers(str(tmp_path), results_table(rows, pa.table({})), [row.question_key for row in rows])
    return tmp_path


def test_videos_of_one_question_and_settings_are_ranked_by_certainty_then_evidence(output):
    with open_database(str(output), num_threads=1) as connection:
        ranked = connection.execute(
            "SELECT rank, video, certainty, evidence_weight, evidence_start_s, evidence_end_s FROM best_by_question "
            "WHERE asked_id = 'which' AND config_hash = 'c' ORDER BY rank"
        ).fetchall()
        others = connection.execute(
            "SELECT asked_id, rank, video FROM best_by_question WHERE asked_id <> 'which' OR config_hash <> 'c' "
            "ORDER BY asked_id"
        ).fetchall()
    assert ranked == [
        (1, "b", -0.1, 0.8, 7.0, 9.0),
        (2, "a", -0.1, 0.6, 7.0, 9.0),
        (3, "c", -0.5, 0.9, 7.0, 9.0),
        (4, "d", -1.5, 0.0, None, None),
    ]
    assert others == [("None#z", 1, "z"), ("which", 1, "a")]


def test_pandas_finds_the_same_from_the_files_as_they_are(output):
    rows = pandas.read_parquet(output / "answers").query("asked_id == 'which' and config_hash == 'c'")
    assert rows.sort_values("answer_entropy", kind="stable")["video"].tolist() == ["a", "b", "c", "d"]


def test_files_from_before_there_were_lists_rank_each_question_by_itself(tmp_path, make_result):
    old = results_table([make_result(question_id=name, question_key=name) for name in "ab"], pa.table({}))
    commit_answers(str(tmp_path), old.drop_columns(sorted(ADDED_COLUMNS)), ["a", "b"])
    with open_database(str(tmp_path), num_threads=1) as connection:
        found = connection.execute("SELECT asked_id, rank FROM best_by_question ORDER BY asked_id").fetchall()
    assert found == [("a", 1), ("b", 1)]
