"""Questions without a run: what every group said, worked out by the test."""

import numpy as np
import pytest

from pipeline.evaluation.analysis.asked_questions import AskedQuestion, Settings
from pipeline.method.stopping import GroupVote


@pytest.fixture(scope="session")
def asked():
    """``asked("A 0.1, B 0.5", expected="A", answer="A")``: one question and its groups, in visiting order."""

    def make(votes, *, number=0, expected="A", answer="A", video="v", method="adapttoken", **changes):
        said = [vote.split() for vote in votes.split(",")] if votes else []
        parsed = tuple(GroupVote(response=response, entropy=float(entropy)) for response, entropy in said)
        fields = {
            "question_id": f"q{number}",
            "question_key": f"k{number}",
            "video": video,
            "kind": "choice",
            "is_choice": True,
            "expected": expected,
            "answer": answer,
            "votes": parsed,
            "group_index_G": np.arange(len(parsed)),
            "num_groups": max(1, len(parsed)),
            "num_frames": 64 * max(1, len(parsed)),
            "duration_s": 32.0 * max(1, len(parsed)),
            "references": None,
            "settings": Settings(model="m", model_revision="r", method=method, config_hash="h"),
        }
        return AskedQuestion(**{**fields, **changes})

    return make
