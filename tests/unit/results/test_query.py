"""``jobs/query.py``: the worked queries of the docs, formats, prompt, and files from before a column was added."""

import csv
import io
import json
import re
import tomllib
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.query import main
from pipeline.results.compaction import compact
from pipeline.results.finished import read_answers
from pipeline.results.part_files import AnswersFolder
from pipeline.results.prompt import run_prompt
from pipeline.results.query_output import MAX_TABLE_ROWS, fit_columns, format_table, write_result
from pipeline.results.schema import ADDED_COLUMNS, ANSWERS_SCHEMA, EVIDENCE_TYPE, GROUP_TYPE, KEPT_TOKEN_TYPE
from pipeline.results.views import VIEWS, open_database
from tests.unit.results.answer_rows import commit, row
from tests.unit.results.query_output_rows import write_output

DOCS = Path(__file__).parents[3] / "docs"
WORKED = re.findall(r"```sql\n(.*?)```\n\n```text\n(.*?)```", (DOCS / "queries.md").read_text(), re.DOTALL)
# What each worked query finds in ``query_output_rows``, worked out by hand.
FOUND = [
    [("adapttoken", 2, 2, 2, 0.5, 0.347), ("adapttoken-lite", 1, 1, 1, 0.5, 0.347)],
    [(f"id-{key}", method, "Which colour?", answer, 0.325, 0.9) for key, method, answer in (
        ("a", "adapttoken", "A"), ("b", "adapttoken", "B"), ("d", "adapttoken-lite", "A"))],
    [("id-a", "adapttoken", "0:00:01", "0:00:02", 1.0, 2), ("id-b", "adapttoken", "0:00:08", "0:00:09", 1.0, 2),
     ("id-d", "adapttoken-lite", "0:00:01", "0:00:02", 1.0, 2)],
    [("adapttoken", 2, 1, 1.0), ("adapttoken-lite", 1, 1, 1.0)],
    [("adapttoken", "confident", 2, 0.5, 2, 0), ("adapttoken-lite", "confident", 1, 0.5, 2, 0)],
    [("< 0.05", 3, 0.667, 6), ("≥ 0.5", 3, 0.333, 0)],
    [("worker_lost", 1, "its worker died")],
    [("adapttoken", "decode", 2.0), ("adapttoken", "encode", 1.0), ("adapttoken", "prefill", 0.0),
     ("adapttoken", "score", 0.0), ("adapttoken", "wait", 0.0), ("adapttoken", "answer", 0.0),
     ("adapttoken-lite", "decode", 1.0), ("adapttoken-lite", "encode", 0.5), ("adapttoken-lite", "prefill", 0.0),
     ("adapttoken-lite", "score", 0.0), ("adapttoken-lite", "wait", 0.0), ("adapttoken-lite", "answer", 0.0)],
    [(0, 1.5), (1, 0.5)],
    [("r1", "adapttoken", 2, 1, 0, 4, 2.0, 0.5), ("r2", "adapttoken-lite", 1, 0, 0, 2, 2.0, 0.5)],
]  # fmt: skip


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("odd [name]*") / "it's")
    write_output(folder)
    return folder


@pytest.fixture(scope="module")
def database(output):
    with open_database(output, num_threads=1) as connection:
        yield connection


@pytest.fixture
def no_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))


@pytest.mark.parametrize(("worked", "found"), list(zip(WORKED, FOUND, strict=True)), ids=range(1, 11))
def test_each_worked_query_finds_what_the_rows_hold_in_the_columns_that_the_docs_show(database, worked, found):
    sql, shown = worked
    result = database.execute(sql)
    names = [column[0] for column in result.description]
    rows = [tuple(str(v) if hasattr(v, "total_seconds") else v for v in one) for one in result.fetchall()]
    assert sorted(rows, key=lambda one: one[:1]) == sorted(found, key=lambda one: one[:1])
    if "PIVOT (SELECT token_row" not in sql:  # its columns are those of the grid
        assert shown.splitlines()[0].split() == names


def test_the_docs_name_exactly_the_columns_of_the_schema():
    sections = re.split(r"^## ", (DOCS / "columns.md").read_text(), flags=re.MULTILINE)
    documented = {one.partition("\n")[0]: re.findall(r"^\| `(\w+)` \|", one, re.MULTILINE) for one in sections}
    assert documented["One row per question"] == ANSWERS_SCHEMA.names
    for name, record in (("evidence", EVIDENCE_TYPE), ("kept_tokens", KEPT_TOKEN_TYPE), ("groups", GROUP_TYPE)):
        assert documented[f"Records of `{name}`"] == [field.name for field in record]


@pytest.mark.parametrize("is_newer_there", [True, False])
def test_files_from_before_a_column_was_added_are_read_by_all_views(tmp_path, is_newer_there):
    output = str(tmp_path / "out")
    write_output(output)
    parts = AnswersFolder(output).list_parts()
    for part in parts[:1] if is_newer_there else parts:
        table = pq.read_table(part.path)
        pq.write_table(table.drop_columns(sorted(ADDED_COLUMNS)), part.path)
    with open_database(output, num_threads=1) as connection:
        counts = {view: connection.execute(f"SELECT count(*) FROM {view}").fetchone()[0] for view in VIEWS}
        types = dict(connection.execute("SELECT column_name, column_type FROM (DESCRIBE answers)").fetchall())
        query = "SELECT count(kept_tokens), count(num_token_rows), count(memory_rung) FROM answers"
        num_known = connection.execute(query).fetchone()
    answers = read_answers(output)
    assert set(answers.column_names) > ADDED_COLUMNS
    assert (answers.column("kept_tokens").null_count < 4) == is_newer_there
    assert counts == {"answers": 4, "groups": 6, "evidence": 3, "failures": 1, "best_by_question": 3, "runs": 2}
    assert types["kept_tokens"].startswith("STRUCT(start_s DOUBLE, group_index INTEGER")
    assert (num_known[0] > 0) == is_newer_there


def test_a_slow_query_prints_no_progress_among_its_rows(database):
    assert database.execute("SELECT current_setting('enable_progress_bar')").fetchone() == (False,)


def test_groups_and_evidence_are_numbered_in_their_order(database):
    query = "SELECT visit, group_index FROM groups WHERE question_id = 'id-a' ORDER BY visit"
    assert database.execute(query).fetchall() == [(1, 0), (2, 2)]
    assert database.execute("SELECT DISTINCT rank FROM evidence").fetchall() == [(1,)]


def test_commits_after_the_database_was_opened_are_seen_and_runs_need_not_have_ended(tmp_path):
    output = str(tmp_path)
    write_output(output)
    for summary in tmp_path.glob("runs/*/summary.json"):
        summary.unlink()
    with open_database(output, num_threads=1) as connection:
        assert connection.execute("SELECT run_id FROM runs").fetchall() == []
        for part in AnswersFolder(output).list_parts()[1:]:
            Path(part.path).unlink()
        fewer = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
        write_output(output)
        assert fewer < connection.execute("SELECT count(*) FROM answers").fetchone()[0] == 4


def test_an_answer_is_printed_as_a_table(output, capfdbinary, no_input):
    assert main([output, "SELECT question_id, weight FROM evidence ORDER BY 1 LIMIT 1"]) == 0
    said = capfdbinary.readouterr().out.decode()
    assert said.splitlines() == ["question_id  weight", "-----------  ------", "id-a              1", "(1 row)"]


@pytest.mark.parametrize("to_file", [True, False])
def test_csv_and_json_lines_hold_all_rows(output, tmp_path, capfdbinary, to_file):
    sql = "SELECT i, 'a,\"ü\"' AS text FROM range(300) t(i); -- a comment"
    for form in ("csv", "json"):
        target = ["--to", str(tmp_path / form)] if to_file else []
        assert main([output, "--format", form, sql, *target]) == 0
        said = (tmp_path / form).read_text() if to_file else capfdbinary.readouterr().out.decode()
        rows = list(csv.DictReader(io.StringIO(said))) if form == "csv" else list(map(json.loads, said.splitlines()))
        assert [int(one["i"]) for one in rows] == list(range(300))
        assert {one["text"] for one in rows} == {'a,"ü"'}


def test_parquet_keeps_types(output, tmp_path):
    path = str(tmp_path / "found.parquet")
    assert main([output, "SELECT kept_tokens FROM answers", "--format", "parquet", "--to", path]) == 0
    tokens = pq.read_table(path).column("kept_tokens")
    assert tokens.type.value_type == KEPT_TOKEN_TYPE
    assert sum(len(one) for one in tokens.to_pylist() if one) == 6


def test_sql_may_come_from_the_standard_input(output, monkeypatch, capfdbinary):
    monkeypatch.setattr("sys.stdin", io.StringIO("CREATE TEMP TABLE t AS SELECT 7 AS n; SELECT n + 1 AS m FROM t;\n"))
    assert main([output]) == 0
    assert capfdbinary.readouterr().out == b"m\n-\n8\n(1 row)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SELECT x FROM answers"], 'column "x"'),
        ([" ; "], "no SQL statement"),
        (["SELECT 1", "--storage-options", '{"a": '], "not JSON"),
        (["--format", "parquet"], "--format parquet is no text"),
    ],
)
def test_a_wrong_query_ends_with_exit_code_2_and_writes_no_file(
    output, tmp_path, capsys, arguments, message, monkeypatch
):
    monkeypatch.setattr("sys.stdin", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    target = [] if "parquet" in arguments else ["--to", str(tmp_path / "t")]
    try:
        code = main([output, *arguments, *target])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


def test_an_output_without_results_is_named(tmp_path, capsys, no_input):
    assert main([str(tmp_path), "SELECT 1"]) == 2
    assert f"{tmp_path}/answers holds no results: name the --output" in capsys.readouterr().err


def type_lines(database, *lines):
    """What the prompt writes when these lines are typed; an exception stands for a key such as Ctrl-C."""
    typed, prompts, target = iter(lines), [], io.BytesIO()

    def read_line(prompt):
        prompts.append(prompt)
        line = next(typed, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    run_prompt(database, target, read_line=read_line)
    return target.getvalue().decode(), prompts


def test_the_prompt_joins_lines_says_errors_and_goes_on(database):
    said, prompts = type_lines(
        database,
        "SELECT 1 AS",
        KeyboardInterrupt(),
        "SELECT nothing;",
        "SELECT 40 +",
        "  2 AS n;",
        ".tables",
        ".schema evidence",
        ".quit",
    )
    assert prompts == ["sql> ", "...> ", "sql> ", "sql> ", "...> ", "sql> ", "sql> ", "sql> "]
    assert '"nothing"' in said
    assert " n\n--\n42\n(1 row)\n" in said
    assert "\nanswers\ngroups\nevidence\nfailures\nbest_by_question\nruns\n" in said
    assert "evidence\n  question_key VARCHAR\n" in said
    assert "  start_s DOUBLE\n" in said
    assert type_lines(database)[0].endswith("\n\n")


def test_dot_commands_are_those_of_duckdb_s_shell(database):
    said, _ = type_lines(
        database, ".mode csv", "SELECT 1 AS a, 2 AS b;", ".schema nothing", ".nonsense", ".mode odd", ".exit"
    )
    assert "a,b\n1,2\n" in said
    assert "there is no view 'nothing'; one of answers, groups" in said
    assert "there is no command .nonsense" in said
    assert ".mode takes table, csv or json" in said


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_column_of_the_answers_fits_the_screen(database, width):
    target = io.BytesIO()
    write_result(database, "SELECT * FROM answers", target, form="table", width=width)
    lines = target.getvalue().decode().splitlines()
    assert all(len(line) <= width for line in lines[:-2])
    assert lines[0].startswith("questio")
    assert re.fullmatch(r"\(\d+ columns, \d+ of them fit; name some, or --format csv or json for all\)", lines[-2])


def test_the_widest_columns_are_cut_first():
    assert fit_columns([4, 30, 4], 30) == ([0, 1, 2], [4, 18, 4])
    assert fit_columns([4, 30, 4], None) == ([0, 1, 2], [4, 30, 4])
    assert fit_columns([20, 20, 20, 20], 30) == ([0, 3], [14, 14])


def test_control_characters_of_a_manifest_do_not_reach_the_terminal():
    text = format_table(["a\x1b"], [["\x1b[2Jq\r\n\u202e"], [["x\x07"]]])
    assert "\\x1b[2Jq\\r\\n\\u202e" in text
    assert not set(text) & set("\x1b\r\x07\u202e")


def test_long_tables_say_that_they_are_cut(database):
    target = io.BytesIO()
    write_result(database, f"SELECT i FROM range({MAX_TABLE_ROWS + 1}) t(i)", target, form="table")
    assert f"only the first {MAX_TABLE_ROWS} rows" in target.getvalue().decode()


@pytest.mark.parametrize(("library", "files"), [("pandas", ""), ("polars", "/**/part-*.parquet")])
def test_pandas_and_polars_read_the_same_rows(tmp_path, library, files):
    reader = pytest.importorskip(library, reason=f"{library} is not installed; it is in the extra 'dev'")
    output = str(tmp_path)
    write_output(output)
    frame = reader.read_parquet(f"{output}/answers{files}")
    by_key = {one["question_key"]: one for one in pa.table(frame).to_pylist()}
    expected = {
        one["question_key"]: one
        for part in AnswersFolder(output).list_parts()
        for one in pq.read_table(part.path).to_pylist()
    }
    for key, one in expected.items():
        for name in (
            "question",
            "status",
            "answer_entropy",
            "num_groups_scored",
            "evidence",
            "kept_tokens",
            "expected",
        ):
            found = by_key[key][name]
            assert found == one[name], (key, name)


def test_times_with_a_zone_are_handed_out_and_what_older_duckdb_needs_for_it_is_a_dependency(database):
    """DuckDB 2.0 asked for pytz, 2.0.1 does without: so it stays a dependency while older ones are allowed."""
    ((when,),) = database.execute("SELECT max(finished_at) FROM answers").fetchall()
    assert when.utcoffset() == timedelta(0)
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    assert "pytz" in project["dependencies"]


def test_csv_holds_no_cell_that_a_spreadsheet_would_run(database):
    cells = [
        "=1+1",
        "+1+1",
        "-1-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "＝1",
        "'=1",
        "plain",
        "-1.5",
        "+7",
        "",
        None,
        "a=1",
        'say "=1"',
    ]
    rows = ", ".join("(NULL)" if cell is None else "('" + cell.replace("'", "''") + "')" for cell in cells)
    others = "-1.5 AS number, -2 AS whole, ['=1'] AS list, {'a': '=1'} AS record"
    sql = f'SELECT x AS "=x", {others} FROM (VALUES {rows}) t(x)'
    target = io.BytesIO()
    write_result(database, sql, target, form="csv")
    found = list(csv.DictReader(io.StringIO(target.getvalue().decode(), newline="")))
    harmless = [
        *("'=1+1", "'+1+1", "'-1-1", "'@SUM(A1)", "'\t=1", "'\r=1", "'＝1", "'=1"),
        *("plain", "-1.5", "+7", "", "", "a=1", 'say "=1"'),
    ]
    assert [one["'=x"] for one in found] == harmless
    assert {(one["number"], one["whole"]) for one in found} == {("-1.5", "-2")}
    assert all(one[name][0] in "[{" for one in found for name in ("list", "record"))


@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_query_is_asked_again_when_a_file_left_while_it_was_read(tmp_path, form):
    output = str(tmp_path)
    for key in "abc":
        commit(output, [row(key)])
    with open_database(output, num_threads=1) as connection:
        compact_once = iter([compact])

        class Interrupted:
            """A connection beside which a compaction runs, between listing and reading of the first query."""

            def _ask(self, ask):
                for act in compact_once:
                    act(output)
                    raise duckdb.IOException("no such file")
                return ask()

            def sql(self, sql):
                return self._ask(lambda: connection.sql(sql))

            def execute(self, sql):
                return self._ask(lambda: connection.execute(sql))

        target = io.BytesIO()
        write_result(Interrupted(), "SELECT question_key FROM answers ORDER BY 1", target, form=form)
    assert re.findall(r"^[abc]$", target.getvalue().decode(), re.MULTILINE) == ["a", "b", "c"]
