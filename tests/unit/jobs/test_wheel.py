"""The wheel is the product: everything a user types works from it, and the workshop stays in the clone."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
_BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pipeline", "actors", "cluster", "jobs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-c", _BUILD, str(target)], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(target.glob("*.whl"))) as archive:
        return set(archive.namelist())


def test_both_labs_stay_out_of_it(wheel):
    assert not [name for name in wheel if "/lab/" in name or name.startswith("tests/")]


def test_everything_else_is_in_it(wheel):
    sources = {
        str(path.relative_to(ROOT))
        for top in ("pipeline", "actors", "cluster", "jobs")
        for path in (ROOT / top).rglob("*.py")
        if "lab" not in path.relative_to(ROOT).parts
    }
    assert sources <= wheel
    assert {"pipeline/demo/model/model.safetensors", "pipeline/results/views.sql", "pipeline/report/page.js"} <= wheel
