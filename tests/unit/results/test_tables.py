"""A table on a terminal and in Markdown."""

from pipeline.results.tables import Table, align_rows, pipe_rows, to_markdown, to_text

TABLE = Table(
    title="scores",
    header=("run", "model", "accuracy"),
    rows=(("a", "demo", "70.5 ± 1.2"), ("long|name", "big", "–")),
    notes=("remark",),
)


def test_words_stand_left_and_numbers_right_on_a_terminal():
    assert to_text([TABLE, Table(title="empty", header=("x",), rows=())]) == (
        "scores\n"
        "run        model    accuracy\n"
        "---------  -----  ----------\n"
        "a          demo   70.5 ± 1.2\n"
        "long|name  big             –\n"
        "  remark\n\n"
        "empty"
    )


def test_markdown_has_sections_and_no_stray_pipes():
    assert to_markdown([TABLE]) == (
        "## scores\n\n"
        "| run | model | accuracy |\n"
        "|---|---|---:|\n"
        "| a | demo | 70.5 ± 1.2 |\n"
        "| long\\|name | big | – |\n\n"
        "- remark\n"
    )


def test_wide_characters_take_two_columns():
    text = to_text([Table(title="t", header=("k", "n"), rows=(("选", "1"), ("ab", "22")))])
    assert text.splitlines()[3:] == ["选   1", "ab  22"]


def test_rows_can_be_written_without_a_title_or_a_header():
    rows = [(1, "x"), (2.5, "a|b"), ("", "")]
    assert pipe_rows(rows, header=("a", "b")) == ["| a | b |", "|---|---|", "| 1 | x |", "| 2.5 | a\\|b |", "|  |  |"]
    assert align_rows([("a", "1", "x"), ("bc", "22", "")], numbers={1}) == ["a    1  x", "bc  22"]
    assert align_rows([], header=("a", "bc")) == ["a  bc", "-  --"]
    assert align_rows([]) == []
