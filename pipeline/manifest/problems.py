"""What is wrong with a manifest, as people are told; and the one check that every cell of text has in common."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.uris import strip_secrets

MAX_LISTED_PROBLEMS = 20


class ManifestError(ValueError):
    """Everything that is wrong with a manifest, at most `MAX_LISTED_PROBLEMS` in full."""

    def __init__(self, uri: str, problems: Sequence[str]) -> None:
        hidden = len(problems) - MAX_LISTED_PROBLEMS
        tail = [f"... and {hidden} more"] if hidden > 0 else []
        lines = [*problems[:MAX_LISTED_PROBLEMS], *tail]
        super().__init__("\n  ".join([f"manifest {strip_secrets(uri)} cannot be used:", *lines]))
        self.uri = uri
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type, tuple[str, tuple[str, ...]]]:
        """Pickle with both arguments, so that the error survives the way between processes."""
        return (type(self), (self.uri, self.problems))


@dataclass(frozen=True, kw_only=True, slots=True)
class CellProblem:
    """One cell that cannot be used; ``row_index`` counts from 0, the message shown to people from 1."""

    row_index: int
    column: str
    message: str

    def __str__(self) -> str:
        return f"row {self.row_index + 1}, column {self.column}: {self.message}"


def shown(value: object, *, max_chars: int = 80) -> str:
    """A value as a message shows it: its repr, cut to ``max_chars``."""
    text = repr(value)
    return text if len(text) <= max_chars else f"{text[: max_chars - 3]}..."


def text_problem(value: object) -> str | None:
    """What is wrong with a cell that must hold text, or None."""
    if value is None:
        return "is missing: write text"
    if not isinstance(value, str):
        return f"{shown(value)} is of type {type(value).__name__}: write text"
    if not value.strip():
        return f"{value!r} is empty: write text"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{shown(value)} holds half a surrogate pair: write valid Unicode"
    return f"{shown(value)} holds a NUL character: remove it" if "\0" in value else None
