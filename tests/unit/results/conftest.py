from datetime import UTC, datetime

import pytest

from pipeline.failures import FailureClass
from pipeline.results.rows import EvidenceRow, GroupRow, QuestionResult

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def make_result():
    """Builds a full ok row; keyword arguments replace columns."""

    def make(**columns):
        values = {
            "question_id": "q1",
            "question_key": "k1",
            "video": "/videos/a.mp4",
            "question": "Which colour?",
            "options": ("red", "blue"),
            "status": "ok",
            "answer": "B",
            "answer_text": "B",
            "option_probabilities": (0.25, 0.75),
            "answer_entropy": 0.5,
            "evidence": (EvidenceRow(start_s=1.0, end_s=2.5, weight=0.75, num_tokens=12),),
            "groups": (
                GroupRow(
                    group_index=0,
                    entropy=0.1,
                    certainty=-0.1,
                    response="B",
                    num_tokens_offered=64,
                    num_tokens_bought=20,
                    num_tokens_kept=12,
                ),
            ),
            "num_groups": 4,
            "num_groups_scored": 1,
            "num_groups_wasted": 2,
            "model": "demo",
            "model_revision": "abc",
            "method": "adapttoken",
            "config_hash": "0" * 16,
            "video_fingerprint": "1" * 16,
            "run_id": "run-1",
            "finished_at": NOON,
        }
        return QuestionResult(**(values | columns))

    return make


@pytest.fixture
def make_failed(make_result):
    def make(**columns):
        no_answer = {"answer": None, "answer_text": None, "option_probabilities": None, "answer_entropy": None}
        failure = {"status": "failed", "error_class": FailureClass.NOT_FOUND, "error_message": "there is no video"}
        return make_result(**(no_answer | failure | {"evidence": (), "groups": (), "num_groups": None} | columns))

    return make
