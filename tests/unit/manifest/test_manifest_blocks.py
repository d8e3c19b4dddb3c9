"""A manifest is checked block by block, whole columns at once where nothing is odd: the result must not show it."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.manifest.problems import ManifestError
from pipeline.manifest.reading import read_manifest
from pipeline.manifest.rows import check_rows


def row(**cells):
    return {"question_id": "1", "video": "a.mp4", "question": "Why?"} | cells


def test_texts_of_a_parquet_file_that_are_no_unicode_are_refused(tmp_path):
    broken = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"\xff\xfe"]).buffers()[1:]])
    table = pa.table({"question_id": ["1"], "video": ["a.mp4"], "question": broken})
    pq.write_table(table, tmp_path / "v.parquet")
    with pytest.raises(ManifestError, match=r"not a readable Parquet file .*UTF8"):
        read_manifest(str(tmp_path / "v.parquet"))


def test_more_rows_than_a_block_keep_their_order_and_their_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.manifest.rows.BLOCK_ROWS", 3)
    monkeypatch.setattr("pipeline.manifest.record_table.BLOCK_ROWS", 2)
    rows = [
        row(question_id=str(i), video=f"{i % 3}.mp4", options=["A. x", "B. y"] if i == 4 else None) for i in range(8)
    ]
    rows[6]["question"] = " "
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "v.parquet")
    manifest = read_manifest(str(tmp_path / "v.parquet"), skip_bad_rows=True)
    assert [(q.question_id, q.row_index) for q in manifest.questions] == [(str(i), i) for i in range(8) if i != 6]
    assert manifest.questions[4].options == ("x", "y")
    assert manifest.questions[-1] == list(manifest.questions)[6]
    assert [q.row_index for q in manifest.questions[5:]] == [5, 7]
    assert [r.message for r in manifest.rejected] == ["row 7, column question: ' ' is empty: write text"]
    assert manifest.row_indices()["6"] == 6


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", " ", "", None, "x\0"]),
            st.one_of(
                st.none(), st.lists(st.sampled_from(["red", "A. red", "B) blue", "", "\u3000", None]), max_size=3)
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_columns_judged_at_once_and_cells_judged_one_by_one_agree(cells):
    known = {
        "question_id": [str(i) for i in range(len(cells))],
        "video": ["v"] * len(cells),
        "question": [text for text, _ in cells],
        "options": [options for _, options in cells],
    }
    types = {"options": pa.list_(pa.string())}
    columns = {name: pa.chunked_array([pa.array(v, types.get(name, pa.string()))]) for name, v in known.items()}
    at_once, one_by_one = check_rows(columns, num_rows=len(cells)), check_rows(known, num_rows=len(cells))
    assert at_once.texts.equals(one_by_one.texts)
    assert at_once.problems == one_by_one.problems
