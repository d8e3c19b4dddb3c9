"""Which version of the project this is: of the installed package, or of the clone that the code lies in."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = "adapttoken-ray"
_PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def project_version() -> str:
    """Such as ``0.1.0``; ``unknown`` where the code was copied without its ``pyproject.toml``."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        pass
    try:
        return str(tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return "unknown"
