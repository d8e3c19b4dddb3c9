"""An interactive SQL prompt: a statement ends with a semicolon, an error is said and the prompt goes on."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from pipeline.results.query_output import OutputFormat, write_result
from pipeline.results.views import VIEWS

if TYPE_CHECKING:
    import duckdb

HELP = (
    "Statements end with ';'. Views: answers, groups, evidence, failures, runs (columns: DESCRIBE answers;).\n"
    ".views  lists the views with their columns    .quit  or Ctrl-D ends    Ctrl-C  drops what is typed\n"
)
_PROMPT, _MORE = "sql> ", "...> "


def run_prompt(
    connection: "duckdb.DuckDBPyConnection",
    target: BinaryIO,
    *,
    form: OutputFormat = "table",
    read_line: Callable[[str], str] = input,
) -> None:
    """Read statements and write what they find until the end of input.

    Args:
        connection: From ``views.open_database``.
        target: Receives results and messages.
        form: Of results.
        read_line: Shows a prompt and returns a line; raises ``EOFError`` at the end, ``KeyboardInterrupt`` on Ctrl-C.
    """
    import duckdb

    _say(target, HELP)
    pending = ""
    while True:
        try:
            line = read_line(_MORE if pending else _PROMPT)
            if not pending and line.strip() == ".quit":
                return
            command, pending = (line.strip(), "") if not pending and line.strip().startswith(".") else ("", pending)
            if command:
                _say(target, _describe_views(connection) if command == ".views" else HELP)
                continue
            pending = f"{pending}\n{line}".strip()
            if pending.endswith(";"):
                statement, pending = pending, ""
                write_result(connection, statement, target, form=form)
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


def _describe_views(connection: "duckdb.DuckDBPyConnection") -> str:
    return "".join(f"{view}: {', '.join(_columns_of(connection, view))}\n" for view in VIEWS)


def _columns_of(connection: "duckdb.DuckDBPyConnection", view: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(f"DESCRIBE {view}").fetchall()]


def _say(target: BinaryIO, text: str) -> None:
    target.write(text.encode())
    target.flush()
