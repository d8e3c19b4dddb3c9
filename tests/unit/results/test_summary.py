from datetime import UTC, datetime

import pyarrow as pa

from pipeline.failures import FailureClass
from pipeline.results.rows import RunStamp
from pipeline.results.schema import ANSWERS_SCHEMA, results_table
from pipeline.results.summary import STAGES, RunTotals, summarize

STAMP = RunStamp(run_id="r", method="lite", model="demo", model_revision="abc", config_hash="c")
TIMES = {"started_at": datetime(2026, 1, 1, tzinfo=UTC), "finished_at": datetime(2026, 1, 2, tzinfo=UTC)}


def test_a_summary_sums_rows_once_per_question_and_video_counters_once_per_video(make_result, make_failed):
    shared = {"video_num_frames_decoded": 100, "video_num_decode_passes": 2, "video_num_groups_encoded": 4}
    results = [
        make_result(
            video="/a.mp4", decode_s=1.5, encode_s=6.0, total_s=2.0, num_groups_scored=3, num_groups_wasted=0, **shared
        ),
        make_result(
            video="/a.mp4", decode_s=1.5, answer_s=2.0, total_s=3.0, num_groups_scored=4, num_groups_wasted=1, **shared
        ),
        make_result(video="/b.mp4", video_num_frames_decoded=7, num_groups_wasted=0),
        make_failed(video="/c.mp4", error_class=FailureClass.NOT_FOUND, num_groups_scored=0, num_groups_wasted=0),
        make_failed(
            video="/d.mp4", error_class=FailureClass.MODEL, score_s=1.0, num_groups_scored=0, num_groups_wasted=0
        ),
        make_failed(video="/e.mp4", error_class=FailureClass.NOT_FOUND, num_groups_scored=0, num_groups_wasted=0),
    ]
    table = results_table(results, pa.table({}))
    assert summarize(table, stamp=STAMP, wall_s=9.5, exit_code=3, num_skipped=11, **TIMES) == {
        "run_id": "r",
        "method": "lite",
        "model": "demo",
        "model_revision": "abc",
        "config_hash": "c",
        "exit_code": 3,
        "started_at": "2026-01-01T00:00:00+00:00",
        "finished_at": "2026-01-02T00:00:00+00:00",
        "wall_s": 9.5,
        "num_videos": 5,
        "num_videos_by_status": {"ok": 2, "failed": 3},
        "num_questions": 6,
        "num_questions_by_status": {"ok": 3, "failed": 3},
        "questions_per_second": 6 / 9.5,
        "num_ok": 3,
        "num_failed": 3,
        "num_skipped": 11,
        "failures_by_class": {"model": 1, "not_found": 2},
        "num_groups_planned": 12,
        "num_groups_scored": 8,
        "num_groups_wasted": 1,
        "groups_wasted_share": 1 / 9,
        "num_frames_decoded": 107,
        "num_decode_passes": 2,
        "num_groups_encoded": 4,
        "num_groups_prefilled": 0,
        "gpu_seconds_per_question": 3.0,  # what failed cost, too: (6 + 2 + 1) s for 3 answers
        "stage_seconds": dict.fromkeys(STAGES, 0.0)
        | {"decode_s": 3.0, "encode_s": 6.0, "score_s": 1.0, "answer_s": 2.0, "total_s": 5.0},
    }


def test_totals_over_commits_are_those_of_all_rows_together(make_result, make_failed):
    results = [
        make_result(video="/a.mp4", video_num_frames_decoded=100, score_s=2.0),
        make_failed(video="/b.mp4", video_num_frames_decoded=3, num_groups_scored=0),
        make_failed(video="/a.mp4", video_num_frames_decoded=40, num_groups_scored=0),
    ]
    totals = RunTotals(results_table([result], pa.table({})) for result in results)
    together = summarize(results_table(results, pa.table({})), stamp=STAMP, wall_s=2.0, exit_code=3, **TIMES)
    assert summarize(totals, stamp=STAMP, wall_s=2.0, exit_code=3, **TIMES) == together
    assert together["num_videos_by_status"] == {"ok": 0, "failed": 2}
    assert together["num_frames_decoded"] == 103


def test_a_run_with_nothing_to_do_has_a_summary_of_zeros():
    summary = summarize(ANSWERS_SCHEMA.empty_table(), stamp=STAMP, wall_s=0.0, exit_code=0, **TIMES)
    assert summary["stage_seconds"] == dict.fromkeys(STAGES, 0.0)
    assert {name: value for name, value in summary.items() if name.startswith("num_") and value != 0} == {
        "num_videos_by_status": {"ok": 0, "failed": 0},
        "num_questions_by_status": {"ok": 0, "failed": 0},
    }
    unknown = ("gpu_seconds_per_question", "groups_wasted_share", "questions_per_second")
    assert [summary[name] for name in unknown] == [None, None, None]
    assert summary["failures_by_class"] == {}
