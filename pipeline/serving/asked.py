"""What goes to the desk, and what comes back meanwhile. Light: a server that only shows answers loads no model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.manifest.columns import FEWEST_OPTIONS

Tell = Callable[[str, dict[str, Any]], None]
"""Told the name of what has happened, and what there is to say of it."""

_MAX_CHARS = 20_000


class WithdrawnError(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What somebody wants to know; open without ``options``.

    Raises:
        ValueError: It cannot be asked; says why.
    """

    video: str
    text: str
    method: str
    options: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("the question is empty")
        num_chars = len(self.text) + sum(map(len, self.options or ()))
        if num_chars > _MAX_CHARS:
            raise ValueError(f"the question has {num_chars:,} characters, at most {_MAX_CHARS:,} can be asked")
        if self.options is not None and len(self.options) < FEWEST_OPTIONS:
            raise ValueError(f"options needs at least {FEWEST_OPTIONS} answers to choose from, or none at all")
