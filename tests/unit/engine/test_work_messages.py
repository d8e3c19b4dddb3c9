"""Work as it travels: what arrives is what was sent."""

import pickle

import numpy as np
import pytest

from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import ScoreWork
from pipeline.models.interface import FrameGeometry
from pipeline.passes.records import GroupInput


@pytest.mark.parametrize("centers_s", [None, np.array([0.25, 8.75, 10.0])], ids=["without times", "with times"])
@pytest.mark.parametrize("patches", [[0, 7, 311], []], ids=["three patches", "none"])
def test_a_group_to_score_arrives_as_it_was_sent(patches, centers_s):
    sent = ScoreWork(
        key=WorkKey(3, 1, Stage.SCORE, 17, 2),
        frames=("bundle",),
        group=GroupInput(
            group_index=5,
            geometry=FrameGeometry(height=28, width=56, token_rows=1, token_columns=2),
            patches=np.array(patches, dtype=np.int64),
            questions=(),
            batches=((0, 1),),
            patch_centers_s=centers_s,
            rung=1,
            only=(1,),
        ),
    )
    arrived = pickle.loads(pickle.dumps(sent, protocol=5))
    assert (arrived.key, arrived.frames) == (sent.key, sent.frames)
    come, gone = arrived.group, sent.group
    assert come._replace(patches=None, patch_centers_s=None) == gone._replace(patches=None, patch_centers_s=None)
    assert (come.patches.dtype, come.patches.tolist()) == (np.int64, patches)
    if centers_s is None:
        assert come.patch_centers_s is None
    else:
        assert (come.patch_centers_s.dtype, come.patch_centers_s.tolist()) == (np.float64, centers_s.tolist())
