"""The doors of the house: which room may need which, and the bans that hold everywhere.

``jobs -> {actors, cluster} -> engine -> passes -> planning -> models, results -> method, video -> settings, manifest
-> counted, failures, stores, uris``; a room may need those that stand in its line below, and nothing else of the
project. ``sandbox`` needs nothing; only video and models need it.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOPS = ("pipeline", "actors", "cluster", "jobs")

GROUND = {"counted", "failures", "own_time", "stores", "uris"}
DATA = GROUND | {"settings", "manifest"}
MIDDLE = DATA | {"method", "video"}
PLANNING = MIDDLE | {"models", "results"}
PASSES = PLANNING | {"planning"}
ENGINE = PASSES | {"passes"}
JOB = ENGINE | {"engine", "watch", "report", "evaluation", "demo", "doctor", "serving"}
EVALUATION = ("benchmarks", "statistics")
DOORS = {
    "counted": set(),
    "failures": set(),
    "own_time": set(),
    "uris": set(),
    "stores": {"uris"},
    "settings": GROUND,
    "manifest": GROUND,
    "method": DATA,
    "sandbox": set(),
    "video": DATA | {"sandbox"},
    "models": MIDDLE | {"sandbox"},
    "results": MIDDLE,
    "planning": PLANNING,
    "passes": PASSES,
    "engine": ENGINE,
    "watch": DATA | {"engine", "results"},
    "report": MIDDLE | {"results", "evaluation"},
    "evaluation": MIDDLE | {"results"},
    "demo": MIDDLE,
    "doctor": ENGINE | {"demo"},
    "serving": ENGINE | {"engine", "report", "evaluation"},
    "lab": JOB,
    "pipeline": {"settings", "models", "manifest", "method", "passes"},  # the Python API
    "actors": ENGINE | {"engine", "pipeline"},
    "cluster": DATA | {"method", "models", "pipeline"},
    "jobs": JOB | {"actors", "cluster", "jobs.wiring", "pipeline"},
    "jobs.wiring": JOB | {"actors", "cluster", "pipeline"},
    "jobs.lab": JOB | {"actors", "cluster", "lab", "jobs", "jobs.wiring", "pipeline"},
}
WITHIN = {  # parts of a room that stand on floors of their own: which others of their room they may need
    "pipeline.engine.messages": (),
    "pipeline.engine.one_video": ("pipeline.engine.messages",),
    "pipeline.models.devices": (
        "pipeline.models.interface",
        "pipeline.models.shared_prefix",
        "pipeline.models.static_greedy",
        "pipeline.models.fusion.regions",
    ),
    "pipeline.models.checkpoints": (),
    "pipeline.models.fusion": (),
    "pipeline.evaluation.importers": tuple(f"pipeline.evaluation.{name}" for name in EVALUATION),
    "pipeline.evaluation.scoring": tuple(f"pipeline.evaluation.{name}" for name in EVALUATION),
    "pipeline.lab.benchmarks": (),
    "pipeline.lab.chaos": (),
    "pipeline.lab.simulation": (),
    "pipeline.lab.synthetic": (),
    "pipeline.lab.layer_probe": (),
    "pipeline.lab.demo_training": ("pipeline.lab.synthetic",),
    "pipeline.lab.sceptic": (),
    "pipeline.lab.moments": ("pipeline.lab.synthetic",),
    "pipeline.lab.moment_training": ("pipeline.lab.moments", "pipeline.lab.demo_training"),
    "pipeline.lab.house": (),
}
LAZY = {"decord", "av", "torchvision", "torchcodec", "botocore", "aiobotocore", "s3fs"}
FILES = [path for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))]
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
MODULES = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name in TREES}


def imported_modules(nodes):
    """Dotted names; of ``from a import b`` it is ``a.b`` where that is a module of the project."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from inner or {node.module}


def room_of(module):
    """``pipeline.engine.flow -> engine``, ``jobs.lab.bench -> jobs.lab``, ``jobs.run -> jobs``."""
    parts = module.split(".")
    if parts[0] == "pipeline":
        return parts[1] if len(parts) > 1 else "pipeline"
    return ".".join(parts[:2]) if parts[0] == "jobs" and len(parts) > 2 else parts[0]


def wrong_doors(room):
    return {
        f"{name} imports {other}"
        for module, name in MODULES.items()
        if room_of(module) == room
        for other in imported_modules(ast.walk(TREES[name]))
        if other.split(".")[0] in TOPS and room_of(other) != room and room_of(other) not in DOORS[room]
    }


def at_module_level(tree):
    """Every statement that runs when the module is imported: not what is inside functions."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        is_for_types = isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        if not is_for_types and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            pending += [
                child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.excepthandler)
            ]


def is_catch_all(handler):
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or getattr(kind, "id", None) in ("Exception", "BaseException") for kind in kinds)


def test_every_room_has_its_doors():
    rooms = {room_of(module) for module in MODULES}
    assert rooms == DOORS.keys() - ({"jobs"} - rooms)
    assert len(TREES) > 300


def test_unit_tests_have_a_folder_per_room():
    folders = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir() and path.name[0] != "_"}
    files = {"counted", "failures", "own_time", "stores", "uris", "pipeline"}
    assert folders == {room for room in DOORS if "." not in room} - files


@pytest.mark.parametrize("room", DOORS)
def test_a_room_needs_only_those_below_it(room):
    assert not wrong_doors(room)


@pytest.mark.parametrize("part", WITHIN)
def test_parts_of_a_room_stand_on_floors_too(part):
    room = ".".join(part.split(".")[:2])
    inside = {module: name for module, name in MODULES.items() if is_below(module, part)}
    assert inside
    assert not {
        f"{name} imports {other}"
        for name in inside.values()
        for other in imported_modules(ast.walk(TREES[name]))
        if is_below(other, room) and not any(is_below(other, allowed) for allowed in (part, *WITHIN[part]))
    }


def is_below(module, folder):
    return module == folder or module.startswith(f"{folder}.")


def test_the_product_never_sees_the_lab():
    users = {
        name
        for module, name in MODULES.items()
        for other in imported_modules(ast.walk(TREES[name]))
        if room_of(other) in ("lab", "jobs.lab") and room_of(module) not in ("lab", "jobs.lab")
    }
    assert not users


def test_the_core_never_sees_ray_or_the_tests():
    offenders = {
        f"{name} imports {other}"
        for name, tree in TREES.items()
        for other in imported_modules(ast.walk(tree))
        if other.split(".")[0] == "tests" or (other.split(".")[0] == "ray" and name.startswith("pipeline/"))
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


def test_libraries_for_videos_and_stores_are_imported_only_where_they_are_used():
    offenders = {
        f"{name} imports {other}"
        for name, tree in TREES.items()
        for other in imported_modules(at_module_level(tree))
        if other.split(".")[0] in LAZY
    }
    assert not offenders


@pytest.mark.parametrize("name", TREES)
def test_files_and_functions_stay_short(name):
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 350
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 60, node.name
