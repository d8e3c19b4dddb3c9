"""Which layout an annotation file has: told from the fields of its rows, never from its name."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.evaluation.importers.annotations import AnnotationError, AnnotationRow
from pipeline.evaluation.importers.records import BenchmarkQuestion, Remark

Imported = BenchmarkQuestion | Remark


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One shape of a benchmark's files.

    Attributes:
        fields: those that every row has, and no other layout's rows have all of.
        convert: one row to its questions, or to why there is none.
    """

    name: str
    fields: frozenset[str]
    convert: Callable[[AnnotationRow], Iterable[Imported]]


def detect_layout(rows: Sequence[AnnotationRow], layouts: Sequence[Layout]) -> Layout:
    """The first layout all of whose fields are in the first row.

    Raises:
        AnnotationError: None fits; names the fields that were found and those of each layout.
    """
    found = rows[0].fields
    for layout in layouts:
        if layout.fields <= found.keys():
            return layout
    known = "; ".join(f"{layout.name}: {', '.join(sorted(layout.fields))}" for layout in layouts)
    raise AnnotationError(
        f"{rows[0].file_name} has rows with the fields {', '.join(sorted(found)) or 'none'}, known are {known}; "
        "name the annotation file of this benchmark"
    )
