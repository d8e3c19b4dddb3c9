"""Where an analysis goes: the same figures as JSON, as Markdown and as a picture, side by side."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.results.tables import Table, to_markdown, to_text

Json = None | bool | int | float | str | Sequence["Json"] | dict[str, "Json"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """One finished analysis.

    Attributes:
        name: of its files.
        figures: everything measured, unrounded.
        tables: for people.
        draw: writes the picture.
    """

    name: str
    figures: dict[str, Json]
    tables: tuple[Table, ...]
    draw: Callable[[Path], None]


def write_analysis(analysis: Analysis, folder: Path) -> list[Path]:
    """Write ``NAME.json``, ``NAME.md`` and ``NAME.png``; the picture last, as it takes longest."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{analysis.name}.{ending}" for ending in ("json", "md", "png")]
    paths[0].write_text(json.dumps(analysis.figures, indent=2, allow_nan=False) + "\n")
    paths[1].write_text(to_markdown(analysis.tables))
    analysis.draw(paths[2])
    return paths


def print_analysis(analysis: Analysis, *, width: int | None = None) -> None:
    """The tables, for a terminal that is so wide."""
    print(to_text(analysis.tables, width=width))
