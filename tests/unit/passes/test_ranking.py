"""What a group sells: separators in the rank, averages and their members, patches of a group; changes of pixels."""

import numpy as np
import pytest
import torch

from pipeline.models.interface import FrameGeometry
from pipeline.passes.candidates import CandidatePiece, GroupCandidates
from pipeline.passes.final_pass import answer_question
from pipeline.passes.picture_change import luma_change
from pipeline.passes.ranking import by_attention
from pipeline.passes.records import GroupInput
from pipeline.passes.token_record import unpack_tokens
from pipeline.settings.config import RunConfig
from tests.unit.passes.test_scoring_and_answering import GEOMETRY, QUESTIONS, final_input

GROUP = GroupInput(group_index=0, geometry=GEOMETRY, patches=np.array([4, 8]), questions=QUESTIONS, batches=((0,),))


def test_a_separator_that_ranks_high_uses_up_quota_and_is_not_sold():
    """Two patches of two tokens, each between two separators; of the best four two are separators."""
    attention = {0: np.array([9, 1, 2, 8, 0, 7, 6, 5], dtype=np.float32)}
    features = torch.zeros(4, 2)
    ranked = by_attention(attention, features, GROUP, separators=2, quota=4)
    assert ranked.scores[0].tolist() == [1, 2, 7, 6]
    assert ranked.offered == {0: 2}
    assert by_attention({0: attention[0][:4]}, features, GROUP).offered == {0: 4}


def candidates(**changes):
    known = {"patches": np.array([4, 8]), "tokens_per_patch": 2, "scores": {0: np.array([1, 4, 3, 2], np.float32)}}
    return GroupCandidates.build(torch.arange(8.0).view(4, 2), **known | changes)


def test_so_many_of_each_patch_are_its_best_ones_in_order():
    piece = candidates().take(0, 3, position=0, by_patch=(1, 2))
    assert list(zip(piece.patch_K.tolist(), piece.token_K.tolist(), strict=True)) == [(4, 1), (8, 0), (8, 1)]
    assert candidates().take(0, 2, position=0, by_patch=[0, 2]).patch_K.tolist() == [8, 8]


def test_evidence_of_an_average_lies_on_all_that_went_into_it(fake_model):
    held = candidates(members={1: np.array([1, 2, 3])})
    pieces = [held.take(0, 1, position=1)]
    pieces.append(
        CandidatePiece(
            position=0,
            patch_K=np.array([2]),
            token_K=np.array([0]),
            score_K=np.array([1], np.float32),
            bits_KD=np.zeros((1, 2), np.float32),
        )
    )
    found = answer_question(fake_model(), pieces, final_input(), RunConfig())
    tokens = unpack_tokens(found.tokens)
    assert list(zip(tokens["patch"].tolist(), tokens["token"].tolist(), strict=True)) == [
        (2, 0),
        (4, 1),
        (8, 0),
        (8, 1),
    ]
    assert tokens["weight"] == pytest.approx([1 / 3, 2 / 9, 2 / 9, 2 / 9], rel=2**-8)  # attention 1 and 2, spread
    assert sum(span.num_tokens for span in found.evidence) == 4
    assert found.kept == {0: 1, 1: 1}


@pytest.mark.parametrize("frames_per_patch", [1, 2])
def test_change_is_the_mean_difference_of_luma_over_a_tokens_cell(frames_per_patch):
    random = np.random.default_rng(5)
    frames = random.integers(0, 256, (6, 4, 8, 3), dtype=np.uint8)
    geometry = FrameGeometry(height=4, width=8, token_rows=2, token_columns=2)
    luma = frames @ np.array([0.299, 0.587, 0.114])
    cells = np.zeros((6, 2, 2))
    for frame in range(1, 6):
        for row in range(2):
            for column in range(2):
                cell = (slice(row * 2, row * 2 + 2), slice(column * 4, column * 4 + 4))
                cells[frame, row, column] = np.abs(luma[frame][cell] - luma[frame - 1][cell]).mean()
    cells[0] = cells[1]  # nothing before: by what follows
    expected = cells if frames_per_patch == 1 else np.stack([cells[1], cells[2:4].mean(0), cells[4:6].mean(0)])
    found = luma_change(torch.from_numpy(frames), geometry, frames_per_patch=frames_per_patch)
    assert found.numpy() == pytest.approx(expected.reshape(-1), rel=1e-4)
