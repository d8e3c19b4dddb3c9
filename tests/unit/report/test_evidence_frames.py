import math

import pyarrow as pa
import pytest

from pipeline.report.evidence_frames import choose_frames, read_patches
from pipeline.results.schema import KEPT_TOKEN_TYPE


def token(start_s, weight, *, group_index=0, row=0, column=0):
    return {"start_s": start_s, "group_index": group_index, "token_row": row, "token_column": column, "weight": weight}


def span(start_s, end_s, weight):
    return {"start_s": start_s, "end_s": end_s, "weight": weight, "num_tokens": 1}


def patches_of(row):
    tokens = row["kept_tokens"]
    return read_patches(row, None if tokens is None else pa.array(tokens, KEPT_TOKEN_TYPE))


# Spans [0, 3) with patches at 0, 1 and 2, [5, 6) with one, [8, 10) with patches at 8 and 9; heaviest first.
ROW = {
    "kept_tokens": [
        *(token(0.0, 0.1), token(1.0, 0.05, row=1), token(1.0, 0.25, column=2, group_index=3), token(2.0, 0.1)),
        *(token(5.0, 0.2, group_index=3), token(8.0, 0.16), token(9.0, 0.14)),
    ],
    "evidence": [span(0.0, 3.0, 0.5), span(8.0, 10.0, 0.3), span(5.0, 6.0, 0.2)],
    "groups": [{"group_index": 3, "entropy": 0.25}],
}


def test_tokens_of_one_start_are_one_patch_that_ends_with_the_next_or_with_its_span():
    patches = patches_of(ROW)
    assert patches.start_s_P.tolist() == [0.0, 1.0, 2.0, 5.0, 8.0, 9.0]
    assert patches.end_s_P.tolist() == [1.0, 2.0, 3.0, 6.0, 9.0, 10.0]
    assert patches.token_counts.tolist() == [1, 2, 1, 1, 1, 1]
    assert patches.weight_P.tolist() == pytest.approx([0.1, 0.3, 0.1, 0.2, 0.16, 0.14])
    assert [None if math.isnan(one) else one for one in patches.entropy_P] == [None, None, None, 0.25, None, None]
    shown = patches.at(1)
    assert (shown.start_s, shown.weight) == (1.0, pytest.approx(0.3))
    assert shown.tokens == ((1, 0, pytest.approx(0.05)), (0, 2, 0.25))


@pytest.mark.parametrize(
    ("limit", "starts"),
    [
        (0, []),
        (1, [1.0]),
        (2, [1.0, 8.0]),  # one of each span first
        (3, [1.0, 5.0, 8.0]),
        (4, [1.0, 5.0, 8.0, 9.0]),  # then the heaviest left
        (9, [0.0, 1.0, 2.0, 5.0, 8.0, 9.0]),
    ],
)
def test_the_heaviest_patch_of_each_span_is_shown_first(limit, starts):
    patches = patches_of(ROW)
    chosen = choose_frames(patches, ROW["evidence"], limit=limit)
    assert [patches.at(index).start_s for index in chosen] == starts


def test_rows_from_before_tokens_were_on_record_show_their_spans():
    patches = patches_of(ROW | {"kept_tokens": None})
    found = [
        (patches.at(index).start_s, end_s, patches.at(index).tokens) for index, end_s in enumerate(patches.end_s_P)
    ]
    assert found == [(0.0, 3.0, ()), (5.0, 6.0, ()), (8.0, 10.0, ())]
    assert patches.weight_P.tolist() == [0.5, 0.2, 0.3]
    assert len(patches_of({"kept_tokens": None, "evidence": [], "groups": []})) == 0
