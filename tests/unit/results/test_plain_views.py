"""The plain views, run by DuckDB as the nearest stand-in, against the project's own; and the DDL that the docs show."""

import re
from importlib import resources
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipeline.results.schema import ANSWERS_SCHEMA
from pipeline.results.views import open_database
from tests.unit.results.answer_rows import commit, row
from tests.unit.results.query_output_rows import write_output

DOCS = Path(__file__).parents[3] / "docs" / "queries.md"
NAMES = {pa.string(): "string", pa.int32(): "int", pa.int64(): "bigint", pa.float32(): "float", pa.float64(): "double"}


@pytest.mark.parametrize(
    ("plain", "own", "columns"),
    [
        ("answers", "answers", "question_key, status, answer, run_id"),
        ("failures", "failures", "question_key, error_class, error_message"),
        ("evidence_of_answers", "evidence", "question_key, start_s, end_s, weight, num_tokens"),
        ("groups_of_answers", "groups", "question_key, group_index, entropy, response, num_tokens_kept"),
    ],
)
def test_plain_views_hold_what_the_project_s_own_do(tmp_path, plain, own, columns):
    output = str(tmp_path)
    write_output(output)
    commit(output, [row("a", second=50, run="run-2", num_runs=2, answer="A")])
    statements = resources.files("pipeline.results").joinpath("views_plain.sql").read_text()
    with duckdb.connect() as connection, open_database(output, num_threads=1) as known:
        files = f"read_parquet('{output}/answers/*.parquet', union_by_name = true)"
        connection.execute(f"CREATE VIEW answers_files AS SELECT * FROM {files}")
        connection.execute(statements)
        found = connection.execute(f"SELECT {columns} FROM {plain} ORDER BY ALL").fetchall()
        assert found == known.execute(f"SELECT {columns} FROM {own} ORDER BY ALL").fetchall()
        assert found


def test_the_ddl_of_the_docs_names_every_column_with_its_type():
    ddl = re.search(r"CREATE EXTERNAL TABLE answers_files \((.*?)\n\)", DOCS.read_text(), re.DOTALL)
    assert ddl is not None
    shown = [line.strip().rstrip(",").split(" ", 1) for line in ddl[1].strip().splitlines()]
    assert shown == [[f"`{field.name}`", hive_type(field.type)] for field in ANSWERS_SCHEMA]


def hive_type(one):
    if pa.types.is_list(one):
        return f"array<{hive_type(one.value_type)}>"
    if pa.types.is_struct(one):
        return f"struct<{','.join(f'{field.name}:{hive_type(field.type)}' for field in one)}>"
    return "timestamp" if pa.types.is_timestamp(one) else NAMES[one]
