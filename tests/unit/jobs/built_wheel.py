"""Builds the wheel of this clone, without network and without touching the clone."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PARTS = ("pipeline", "actors", "cluster", "jobs")
_BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


def build_wheel(folder):
    source, target = folder / "source", folder / "wheel"
    for name in PARTS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "adapttoken.py", "README.md"):
        shutil.copy(ROOT / name, source / name)
    target.mkdir()
    subprocess.run([sys.executable, "-c", _BUILD, str(target)], cwd=source, check=True, capture_output=True)
    return next(target.glob("*.whl"))


def make_foreign_project(folder):
    """A project of somebody else, with folders of the same names, that may never be imported."""
    for name in PARTS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('the own {name} of another project')\n")
    return folder


def top_level_of(wheel_folder):
    """What can be imported once it is unpacked."""
    return {path.stem for path in Path(wheel_folder).iterdir() if path.suffix in ("", ".py")}
