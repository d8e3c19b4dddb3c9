import itertools

import numpy as np
import pytest
import torch

from pipeline.models.qwen.qwen3_sequence import lay_out
from tests.unit.models.tiny_models import cases_of

VIDEO = 9


BOTH_FAMILIES = pytest.mark.parametrize("case", [*cases_of("qwen3_vl"), *cases_of("qwen3_5")], indirect=True)


@BOTH_FAMILIES
def test_positions_of_a_clip_equal_stock_get_rope_index(case):
    tokens = case.lay_out("What?", None)
    ids = torch.tensor([[token.id for token in tokens]])
    stock, _ = case.stock.model.get_rope_index(
        ids, mm_token_type_ids=(ids == case.stock.config.video_token_id).int() * 2, video_grid_thw=case.pixels()[1]
    )
    assert stock[:, 0].T.tolist() == [list(token.position) for token in tokens]

    last = case.visual_places(tokens)[-1]
    rows, columns = case.geometry.token_rows, case.geometry.token_columns
    patch, row, column = np.indices((3, rows, columns)).reshape(3, -1)
    text_ids = [[token.id for token in run] for run in text_runs(case, tokens)]
    ours = lay_out(
        text_ids[:-1],
        patch_N=patch,
        row_N=row,
        column_N=column,
        side=max(rows, columns),
        video_id=case.stock.config.video_token_id,
    )
    assert ours.ids_T.tolist() == ids[0, : last + 1].tolist()
    assert (ours.positions == stock[:, 0, : last + 1].numpy()).all()
    assert ours.next_position == int(stock[0, 0, last + 1])
    assert ours.visual.tolist() == case.visual_places(tokens)


def text_runs(case, tokens):
    video_id = case.stock.config.video_token_id
    return [
        list(run) for is_visual, run in itertools.groupby(tokens, lambda token: token.id == video_id) if not is_visual
    ]


@BOTH_FAMILIES
def test_the_question_goes_on_a_whole_frame_after_the_last_block(case, prefix):
    tokens = case.lay_out("What?", None)
    last = case.visual_places(tokens)[-1]
    assert prefix.length == last + 1
    assert prefix.next_position == tokens[last + 1].position[0]
    assert prefix.visual.tolist() == case.visual_places(tokens)


KEPT = {"patch_N": np.array([3, 3, 500]), "row_N": np.array([0, 2, 1]), "column_N": np.array([1, 0, 1])}


def test_a_dropped_token_moves_nothing_else():
    # two text tokens, a block of 3 x 2 tokens of which two remain, one text token, a block of which one remains
    sequence = lay_out([[5, 6], [7]], **KEPT, side=3, video_id=VIDEO)
    assert sequence.ids_T.tolist() == [5, 6, VIDEO, VIDEO, 7, VIDEO]
    assert sequence.positions.T.tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 3], [2, 4, 2], [5, 5, 5], [6, 7, 7]]
    assert sequence.visual.tolist() == [2, 3, 5]
    assert sequence.next_position == 9


def test_every_block_needs_its_text():
    with pytest.raises(ValueError, match="argument"):
        lay_out([[5, 6]], **KEPT, side=3, video_id=VIDEO)
