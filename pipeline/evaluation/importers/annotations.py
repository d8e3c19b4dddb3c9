"""Annotation files (Parquet, JSON, JSON lines; one or a folder of them) as rows whose fields are read with checks."""

import io
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.failures import with_store_errors
from pipeline.uris import StorageOptions, strip_secrets

SUFFIXES = (".parquet", ".jsonl", ".json")


class AnnotationError(ValueError):
    """An annotation file is not what it should be: says where, what was found and what is known."""


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """One object of an annotation file.

    Attributes:
        file_name: with suffix, without folders.
        index: from 0, within the file.
    """

    file_name: str
    index: int
    fields: Mapping[str, object]

    @property
    def where(self) -> str:
        """``plotQA.json row 1``: for people, so counted from 1."""
        return f"{self.file_name} row {self.index + 1}"

    def text(self, name: str) -> str:
        """A text that must be there; numbers are written as text.

        Raises:
            AnnotationError: It is missing, empty or of another type.
        """
        value = self.optional_text(name)
        if value is None:
            raise self._error(name, "a text that is not empty")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text or number as text; None when missing, null or blank."""
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            raise self._error(name, "a text")
        shown = "" if value is None else str(value).strip()
        return shown or None

    def optional_number(self, name: str) -> float | None:
        """A finite number, or None when missing or null."""
        value = self.fields.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._error(name, "a number")
        try:
            number = float(value)
        except ValueError:
            raise self._error(name, "a number") from None
        if number != number or number in (float("inf"), float("-inf")):
            raise self._error(name, "a finite number")
        return number

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, as they are; empty when missing or null. A single text is a list of one."""
        value = self.fields.get(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str | int | float) for item in value):
            raise self._error(name, "a list of texts")
        return tuple(str(item) for item in value)

    def rows(self, name: str) -> "Iterator[AnnotationRow]":
        """A list of objects inside this one; each inherits this one's place in the file."""
        value = self.fields.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._error(name, "a list of objects")
        for item in value:
            yield AnnotationRow(self.file_name, self.index, {**item})

    def row(self, name: str) -> "AnnotationRow":
        """An object inside this one; empty when missing."""
        value = self.fields.get(name)
        if not isinstance(value, dict | None):
            raise self._error(name, "an object")
        return AnnotationRow(self.file_name, self.index, {**(value or {})})

    def _error(self, name: str, allowed: str) -> AnnotationError:
        shown = repr(self.fields.get(name))[:80]
        return AnnotationError(f"{self.where}: field {name!r} must be {allowed}, got {shown}; correct the file")


def read_annotations(uri: str, *, storage_options: StorageOptions = None) -> list[list[AnnotationRow]]:
    """The rows of each file: of the one that is named, or of all with a known suffix directly in the named folder.

    Raises:
        AnnotationError: Nothing is there, a file is not readable, or holds something else than objects.
    """
    filesystem, path = fsspec.core.url_to_fs(uri, **(storage_options or {}))
    try:
        is_folder = filesystem.isdir(path)
        paths = sorted(filesystem.ls(path, detail=False)) if is_folder else [path]
        paths = [found for found in paths if found.lower().endswith(SUFFIXES)]
        if not paths:
            kinds = ", ".join(SUFFIXES)
            raise AnnotationError(
                f"{strip_secrets(uri)} is no file that ends in {kinds}, nor a folder with any: name one"
            )
        files = [_read_file(posixpath.basename(found), filesystem.cat_file(found)) for found in paths]
    except FileNotFoundError:
        raise AnnotationError(f"there is nothing at {strip_secrets(uri)}: check --annotations") from None
    except with_store_errors(OSError) as error:
        raise AnnotationError(
            f"{strip_secrets(uri)} cannot be read ({type(error).__name__}): check the rights"
        ) from error
    return [rows for rows in files if rows]


def _read_file(name: str, content: bytes) -> list[AnnotationRow]:
    try:
        if name.lower().endswith(".parquet"):
            objects: object = pq.ParquetFile(io.BytesIO(content)).read().to_pylist()
        elif name.lower().endswith(".jsonl"):
            objects = [json.loads(line) for line in content.decode("utf-8-sig").split("\n") if line.strip()]
        else:
            objects = json.loads(content.decode("utf-8-sig"))
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        raise AnnotationError(f"{name} is not readable as what its suffix says ({error}): download it again") from error
    if isinstance(objects, dict) and all(isinstance(value, dict) for value in objects.values()):
        objects = list(objects.values())
    if not isinstance(objects, list) or not all(isinstance(value, dict) for value in objects):
        raise AnnotationError(f"{name} must hold a list of objects, found {type(objects).__name__}: name another file")
    return [AnnotationRow(name, index, fields) for index, fields in enumerate(objects)]
