"""Builds the wheel: one package, ``adapttoken``, whose parts are the clone's folders ``pipeline actors cluster jobs``.

In a clone, and where it is installed with ``pip install -e``, code says ``from pipeline.x import y``. In the wheel the
same files lie below ``adapttoken/`` and say ``from adapttoken.pipeline.x import y``: nothing of it has a name that a
user's own ``jobs/`` or ``pipeline/`` could have. Everything else, comments included, stays as it is.
"""

import ast
import shutil
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

PACKAGE = "adapttoken"
PARTS = ("pipeline", "actors", "cluster", "jobs")
_MAIN = f'"""``python -m {PACKAGE}``."""\n\nimport sys\n\nfrom {PACKAGE} import main\n\nsys.exit(main())\n'

Insertion = tuple[int, int]
"""A line, counted from 0, and a byte of it, before which ``adapttoken.`` goes."""


class build_package(build_py):  # noqa: N801 - setuptools names its commands so
    """Builds into ``adapttoken/``, and renames what the modules import of each other."""

    def run(self) -> None:
        """As ever for an editable install."""
        if self.editable_mode:
            super().run()
            return
        outer = self.build_lib
        inner = Path(outer) / PACKAGE
        shutil.rmtree(inner, ignore_errors=True)  # of an earlier build, whose files may be no more
        self.build_lib = str(inner)
        try:
            super().run()
        finally:
            self.build_lib = outer
        (inner / f"{PACKAGE}.py").replace(inner / "__init__.py")
        files = {path: module_name(path.relative_to(inner)) for path in inner.rglob("*.py")}
        for path in files:
            path.write_text(rename_modules(path.read_text(encoding="utf-8"), set(files.values())), encoding="utf-8")
        (inner / "__main__.py").write_text(_MAIN, encoding="utf-8")
        if commit := find_commit():
            (inner / "commit.txt").write_text(commit, encoding="utf-8")


class one_top_level(egg_info):  # noqa: N801
    """Says what the wheel's modules can be imported as."""

    def run(self) -> None:
        """Afterwards, as setuptools knows the clone's folders only."""
        super().run()
        (Path(self.egg_info) / "top_level.txt").write_text(f"{PACKAGE}\n", encoding="utf-8")


def find_commit() -> str:
    """Of the clone that this file lies in, with ``changed`` behind it where that is so; empty where git knows none."""
    here = Path(__file__).resolve().parent
    if not (here / ".git").exists():  # a source archive, perhaps inside somebody else's clone
        return ""
    asked = (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    try:
        commit, changes = (subprocess.check_output(["git", "-C", str(here), *words], text=True) for words in asked)
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit.strip()}{' changed' if changes.strip() else ''}\n"


def module_name(path: Path) -> str:
    """``pipeline/video/probe.py -> pipeline.video.probe``."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def is_dotted(text: str, modules: Collection[str]) -> bool:
    """Whether it names a module; ``"pipeline"`` alone is a word like others."""
    return "." in text and text in modules


def rename_modules(source: str, modules: Collection[str]) -> str:
    """The source with ``adapttoken.`` before each module of the project in an import, or alone in a string.

    ``"pipeline.video.decode_process"`` as a whole string names what another process is to import; within a longer text
    it is prose.

    Raises:
        ValueError: ``import pipeline.x``, which binds a name that is used all over the file: write ``from``.
    """
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    for line, at in sorted(_insertions(ast.parse(source), lines, modules), reverse=True):
        lines[line] = lines[line][:at] + f"{PACKAGE}.".encode() + lines[line][at:]
    return b"".join(lines).decode()


def _insertions(tree: ast.AST, lines: list[bytes], modules: Collection[str]) -> Iterator[Insertion]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in PARTS:
                    if alias.asname is None:
                        raise ValueError(f"line {alias.lineno}: 'import {alias.name}' cannot be renamed: write 'from'")
                    yield alias.lineno - 1, alias.col_offset
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PARTS:
            at = node.col_offset + len("from ")
            if not lines[node.lineno - 1][at:].startswith(str(node.module).encode()):
                raise ValueError(f"line {node.lineno}: write one space behind 'from'")
            yield node.lineno - 1, at
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and is_dotted(node.value, modules):
            line = lines[node.lineno - 1]
            yield node.lineno - 1, line.index(node.value.encode(), node.col_offset)


if __name__ == "__main__":
    setup(cmdclass={"build_py": build_package, "egg_info": one_top_level})
