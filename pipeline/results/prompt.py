"""An interactive SQL prompt: a statement ends with a semicolon, an error is said and the prompt goes on."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from pipeline.results.query_output import OutputFormat, write_result
from pipeline.results.views import VIEWS

if TYPE_CHECKING:
    import duckdb

HELP = (
    "Statements end with ';'. Views: answers, groups, evidence, failures, runs (columns: DESCRIBE answers;).\n"
    ".tables  lists the views    .schema [VIEW]  their columns and types    .mode table|csv|json\n"
    ".quit  or Ctrl-D ends    Ctrl-C  drops what is typed\n"
)
_MODES: dict[str, OutputFormat] = {"table": "table", "csv": "csv", "json": "json", "jsonlines": "json"}
_PROMPT, _MORE = "sql> ", "...> "


def run_prompt(
    connection: "duckdb.DuckDBPyConnection",
    target: BinaryIO,
    *,
    form: OutputFormat = "table",
    read_line: Callable[[str], str] = input,
    measure_width: Callable[[], int | None] = lambda: None,
) -> None:
    """Read statements and write what they find until the end of input.

    Args:
        connection: From ``views.open_database``.
        target: Receives results and messages.
        form: Of results.
        read_line: Shows a prompt and returns a line; raises ``EOFError`` at the end, ``KeyboardInterrupt`` on Ctrl-C.
        measure_width: Of the screen, asked before each table; None: as wide as it gets.
    """
    import duckdb

    _say(target, HELP)
    pending = ""
    while True:
        try:
            line = read_line(_MORE if pending else _PROMPT)
            if not pending and line.strip().startswith("."):
                name, *words = line.split()
                if name in (".quit", ".exit", ".q"):
                    return
                said, form = _answer_dots(connection, name, words, form)
                _say(target, said)
                continue
            pending = f"{pending}\n{line}".strip()
            if pending.endswith(";"):
                statement, pending = pending, ""
                write_result(connection, statement, target, form=form, width=measure_width())
                target.flush()
        except EOFError:
            _say(target, "\n")
            return
        except KeyboardInterrupt:
            pending = ""
            _say(target, "\n")
        except (duckdb.Error, ValueError) as error:
            _say(target, f"{error}\n")


def enable_line_editing(connection: "duckdb.DuckDBPyConnection") -> None:
    """Arrow keys, history, and the names of views and columns by Tab, where the terminal library is there."""
    with suppress(ImportError):
        import readline

        names = {name for view in VIEWS for name in _columns_of(connection, view)} | set(VIEWS)

        def complete(text: str, state: int) -> str | None:
            found = sorted(name for name in names if name.startswith(text))
            return found[state] if state < len(found) else None

        readline.set_completer(complete)
        readline.parse_and_bind("tab: complete")


def _answer_dots(
    connection: "duckdb.DuckDBPyConnection", name: str, words: Sequence[str], form: OutputFormat
) -> tuple[str, OutputFormat]:
    """What a command of DuckDB's shell says here, and the form of results from now on."""
    if name in (".tables", ".views"):
        return "\n".join(VIEWS) + "\n", form
    if name == ".schema":
        unknown = [word for word in words if word not in VIEWS]
        if unknown:
            return f"there is no view {unknown[0]!r}; one of {', '.join(VIEWS)}\n", form
        return "".join(_describe_view(connection, view) for view in words or VIEWS), form
    if name == ".mode":
        if words and words[0] in _MODES:
            return f"results are shown as {_MODES[words[0]]}\n", _MODES[words[0]]
        return ".mode takes table, csv or json\n", form
    return ("" if name == ".help" else f"there is no command {name}\n") + HELP, form


def _describe_view(connection: "duckdb.DuckDBPyConnection", view: str) -> str:
    rows = connection.execute(f"DESCRIBE {view}").fetchall()
    return f"{view}\n" + "".join(f"  {row[0]} {row[1]}\n" for row in rows)


def _columns_of(connection: "duckdb.DuckDBPyConnection", view: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(f"DESCRIBE {view}").fetchall()]


def _say(target: BinaryIO, text: str) -> None:
    target.write(text.encode())
    target.flush()
