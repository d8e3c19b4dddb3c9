"""The import rules and bans of the house, as tests: jobs -> actors, cluster -> pipeline; pipeline never sees Ray."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("pipeline", "actors", "cluster", "jobs")
FORBIDDEN = {
    "pipeline": {"ray", "actors", "cluster", "jobs", "tests"},
    "actors": {"cluster", "jobs", "tests"},
    "cluster": {"actors", "jobs", "tests"},
    "jobs": {"tests"},
}
LAZY = {"decord", "av", "torchvision", "torchcodec"}
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def imported_roots(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def at_module_level(tree):
    """Every statement that runs when the module is imported: not what is inside functions."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            pending += [
                child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.excepthandler)
            ]


def is_catch_all(handler):
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or getattr(kind, "id", None) in ("Exception", "BaseException") for kind in kinds)


def test_there_is_code_in_every_layer():
    assert {name.split("/")[0] for name in TREES} == set(LAYERS)
    assert len(TREES) > 60


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_layer_imports_only_what_it_may(layer):
    offenders = {
        f"{name} imports {root}"
        for name, tree in TREES.items()
        if name.startswith(f"{layer}/")
        for root in imported_roots(ast.walk(tree))
        if root in FORBIDDEN[layer]
    }
    assert not offenders


def test_everything_is_caught_at_one_place_only_the_actor_boundary():
    found = [
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and is_catch_all(node)
    ]
    assert found == ["actors/worker.py"]


def test_ray_is_started_in_one_file_only():
    found = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "init" and getattr(node.value, "id", None) == "ray"
    }
    assert found == {"cluster/session.py"}


def test_video_libraries_are_imported_only_where_they_are_used():
    offenders = {
        f"{name} imports {root}"
        for name, tree in TREES.items()
        for root in imported_roots(at_module_level(tree))
        if root in LAZY
    }
    assert not offenders


@pytest.mark.parametrize("name", TREES)
def test_files_and_functions_stay_short(name):
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 250
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 60, node.name
