"""A table on a terminal and in Markdown."""

from pipeline.counted import counted
from pipeline.results.fitted_rows import fit_rows, text_width, wrap
from pipeline.results.tables import Table, pipe_rows, to_markdown, to_text

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
    assert fit_rows([("a", "1", "x"), ("bc", "22", "")], numbers={1}) == ["a    1  x", "bc  22"]
    assert fit_rows([], header=("a", "bc")) == ["a  bc", "-  --"]
    assert fit_rows([]) == []


WIDE = Table(
    title="Runs",
    header=("method", "accuracy in percent of all questions", "what it shows of the video", "seconds per question"),
    rows=(
        ("adapttoken", "98.5 ± 1.2", "the groups that were sure of their answers, with most of their tokens", "12.5"),
        ("uniform", "24.0 ± 4.0", "何 evenly spread", "1.5"),
    ),
)


def test_a_table_fits_the_terminal_and_loses_no_word():
    lines = to_text([WIDE], width=80).splitlines()
    assert max(map(text_width, lines)) <= 80
    words = {word for row in (WIDE.header, *WIDE.rows) for cell in row for word in cell.split()}
    assert words <= set(" ".join(lines).split())
    assert max(map(text_width, to_text([WIDE]).splitlines())) > 80
    assert to_text([WIDE], width=500) == to_text([WIDE])


def test_columns_that_do_not_fit_side_by_side_go_on_below_behind_the_first():
    rows = [[f"run-{row}", *(str(10**6 + column + 100 * row) for column in range(12))] for row in range(2)]
    lines = fit_rows(rows, header=["run", *(f"c{n}" for n in range(12))], numbers=range(1, 13), width=40)
    assert max(map(len, lines)) <= 40
    assert [line.split()[0] for line in lines if line].count("run-0") == lines.count("") + 1 > 1
    assert {cell for row in rows for cell in row} <= set(" ".join(lines).split())


def test_a_long_word_is_broken():
    assert wrap("see /a/very/long/path here", 8) == ["see", "/a/very/", "long/pat", "h here"]
    assert wrap("", 8) == [""]


def test_things_are_counted_as_people_write_them():
    assert [counted(n, "question") for n in (0, 1, 2, 1200)] == [
        *("0 questions", "1 question", "2 questions", "1,200 questions"),
    ]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
