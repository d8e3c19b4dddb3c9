"""The largest mutable record of the engine, and which files write to its fields from outside."""

import ast
from collections.abc import Iterable, Iterator

from pipeline.lab.house.imports import Module


def fields_by_state(modules: Iterable[Module]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Class of the engine that is a dataclass and not frozen -> its module, its fields."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for module in modules:
        for node in module.tree.body:
            if module.name.startswith("pipeline.engine") and isinstance(node, ast.ClassDef) and _is_state(node):
                names = [one.target.id for one in node.body if _is_field(one)]  # type: ignore[attr-defined]
                found[node.name] = module.name, tuple(names)
    return found


def _is_state(node: ast.ClassDef) -> bool:
    return any(
        isinstance(one, ast.Call) and getattr(one.func, "id", "") == "dataclass" and not _is_frozen(one)
        for one in node.decorator_list
    )


def _is_frozen(call: ast.Call) -> bool:
    return any(word.arg == "frozen" and getattr(word.value, "value", False) for word in call.keywords)


def _is_field(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)


def outside_writes(modules: Iterable[Module], *, home: str, fields: Iterable[str], name: str) -> dict[str, int]:
    """File -> places that assign to a field of the record ``name`` or call what changes it in place."""
    wanted, counted = frozenset(fields), dict[str, int]()
    for module in modules:
        if module.name != home and module.name.startswith(("pipeline.engine", "actors")):
            places = sum(1 for _ in _writes(module.tree, wanted, name))
            if places:
                counted[module.name] = places
    return counted


_CHANGES = frozenset({"add", "append", "clear", "discard", "pop", "remove", "update", "setdefault", "extend"})


def _writes(tree: ast.Module, fields: frozenset[str], name: str) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
            targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
            flat = [part for target in targets for part in getattr(target, "elts", [target])]
            yield from (node for target in flat if _field_of(target, name) in fields)
        elif isinstance(node, ast.Call) and _changed_by(node, name) in fields:
            yield node


def _changed_by(call: ast.Call, name: str) -> str | None:
    is_change = isinstance(call.func, ast.Attribute) and call.func.attr in _CHANGES
    return _field_of(call.func.value, name) if is_change and isinstance(call.func, ast.Attribute) else None


def _field_of(node: ast.AST, name: str) -> str | None:
    """``video.frames`` and ``video.frames[…]`` are about ``frames``."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
        return node.attr
    return None
