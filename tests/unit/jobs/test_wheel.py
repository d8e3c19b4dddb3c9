"""The wheel is the product: one package, whose modules know no other name; the workshop stays in the clone."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.demo.archive import ArchiveSpec, write_archive
from tests.unit.jobs.built_wheel import PARTS, ROOT, build_wheel, make_foreign_project, top_level_of

_OWN = re.compile(rf"(?:{'|'.join(PARTS)})(?:\.\w+)+(?::\w+)?")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    with zipfile.ZipFile(build_wheel(folder)) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def wheel(unpacked):
    return {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def setup():
    spec = importlib.util.spec_from_file_location("project_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_labs_stay_out_of_it(wheel):
    assert not [name for name in wheel if "/lab/" in name or name.startswith("tests/")]


def test_everything_else_is_in_it(wheel):
    sources = {
        f"adapttoken/{path.relative_to(ROOT)}"
        for top in PARTS
        for path in (ROOT / top).rglob("*.py")
        if "lab" not in path.relative_to(ROOT).parts
    }
    assert sources <= wheel
    data = {"pipeline/demo/model/model.safetensors", "pipeline/results/views.sql", "pipeline/report/page.js"}
    data |= {"pipeline/serving/ask.html", "pipeline/serving/served.js", "pipeline/serving/serve.css"}
    assert {f"adapttoken/{name}" for name in data} <= wheel


def test_one_name_is_installed(unpacked):
    assert top_level_of(unpacked) == {"adapttoken"}
    (info,) = unpacked.glob("*.dist-info")
    assert (info / "top_level.txt").read_text().split() == ["adapttoken"]
    assert "adapttoken = adapttoken:main" in (info / "entry_points.txt").read_text()


def test_no_module_of_it_knows_a_folder_of_the_clone_by_its_name(unpacked):
    num_imports = 0
    for path in unpacked.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not [name for name in names if name.split(".")[0] in PARTS], path
            num_imports += sum(name.startswith("adapttoken.") for name in names)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not _OWN.fullmatch(node.value) or not is_module(unpacked, node.value), (path, node.value)
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                assert node.values[0].value.rstrip(".") not in PARTS, (path, "an f-string that begins with a folder")
    assert num_imports > 1_000


def is_module(site, name):
    return (site / "adapttoken" / name.partition(":")[0].replace(".", "/")).with_suffix(".py").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from jobs.run import main", "from adapttoken.jobs.run import main"),
        ("def f():\n    from  jobs.run import main as m  # é", None),
        ("import jobs.run as r, os", "import adapttoken.jobs.run as r, os"),
        ("x = {'é': 'jobs.run'}", "x = {'é': 'adapttoken.jobs.run'}"),
        ("x = 'jobs'; jobs = run.jobs", "x = 'jobs'; jobs = run.jobs"),
        ("'''See jobs.run.'''", "'''See jobs.run.'''"),
        ("from jobsite.run import jobs", "from jobsite.run import jobs"),
        ("from adapttoken.jobs.run import main", "from adapttoken.jobs.run import main"),
    ],
)
def test_what_is_renamed_and_what_is_not(setup, before, after):
    if after is None:
        with pytest.raises(ValueError, match="one space"):
            setup.rename_modules(before, {"jobs.run"})
        return
    assert setup.rename_modules(before, {"jobs", "jobs.run"}) == after


def test_an_import_that_cannot_be_renamed_ends_the_build(setup):
    with pytest.raises(ValueError, match=r"line 2: 'import jobs\.run' cannot be renamed"):
        setup.rename_modules("import os\nimport jobs.run", {"jobs.run"})


_IN_ANOTHER_PROJECT = """
import json, sys
import adapttoken
ask = ["ask", "videos/v000.mp4", "What color is the star?", "--model", "demo", "--output", "out"]
codes = [adapttoken.main(words) for words in (
    [*ask, "--set", "sampling.max_frames=128"],
    ["query", "out", "SELECT count(*) AS n FROM answers", "--format", "json", "--to", "rows.json"],
    ["report", "out"],
)]
answer = adapttoken.answer("videos/v000.mp4", "What?", ["red", "green"], model="demo", settings=["max_frames=64"])
own = [name for name in sys.modules if name.split(".")[0] in ("pipeline", "actors", "cluster", "jobs")]
json.dump([codes, answer.answer, adapttoken.__file__, adapttoken.__version__, own], open("said.json", "w"))
"""


def test_it_works_from_the_folder_of_another_project_with_folders_of_the_same_names(unpacked, tmp_path):
    project = make_foreign_project(tmp_path / "project")
    write_archive(project, ArchiveSpec(num_frames=(264,), questions_per_video=1, seed=3))
    environment = os.environ | {"PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _IN_ANOTHER_PROJECT]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3_000:]
    codes, answer, file, version, own = json.loads((project / "said.json").read_text())
    assert codes == [0, 0, 0]
    assert json.loads((project / "rows.json").read_text()) == {"n": 1}
    assert (project / "out" / "report" / "index.html").exists()
    assert answer in ("A", "B")
    assert Path(file) == unpacked / "adapttoken" / "__init__.py"
    assert version != "unknown"
    assert own == []
