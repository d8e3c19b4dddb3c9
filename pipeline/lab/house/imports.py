"""The project's own imports, read as text: which file needs which, and what can be reached from one."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOPS = ("pipeline", "actors", "cluster", "jobs")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Module:
    """One file. ``needs`` are the project's modules that it imports anywhere, functions included."""

    name: str
    path: Path
    tree: ast.Module
    num_lines: int
    needs: frozenset[str]


def read_modules(root: Path) -> dict[str, Module]:
    """All modules below ``root`` by their dotted name; a package goes by its own."""
    paths = {_name(root, path): path for top in TOPS for path in sorted((root / top).rglob("*.py"))}
    texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    return {
        name: Module(
            name=name,
            path=path,
            tree=trees[name],
            num_lines=texts[name].count("\n"),
            needs=frozenset(_imported(trees[name], paths.keys() - {name})),
        )
        for name, path in paths.items()
    }


def _name(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _imported(tree: ast.Module, known: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
            yield from inner or ({node.module} & known)


def reachable(modules: dict[str, Module], start: str) -> set[str]:
    """The modules that ``start`` needs, directly or not, and itself."""
    found, pending = set[str](), [start]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += modules[name].needs
    return found


def room_of(name: str) -> str:
    """``pipeline.engine.flow -> pipeline/engine``, ``pipeline.uris -> pipeline/uris``, ``jobs.lab.bench -> jobs``."""
    parts = name.split(".")
    return "/".join(parts[:2]) if parts[0] == "pipeline" and len(parts) > 1 else parts[0]


def arrows(modules: dict[str, Module]) -> dict[tuple[str, str], int]:
    """(room, room it needs) -> how many imports say so."""
    counted: dict[tuple[str, str], int] = {}
    for module in modules.values():
        for need in module.needs:
            pair = room_of(module.name), room_of(need)
            if pair[0] != pair[1]:
                counted[pair] = counted.get(pair, 0) + 1
    return counted
