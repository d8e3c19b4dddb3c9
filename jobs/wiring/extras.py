"""Parts of the installation that only some commands need: what is missing is said before any work, with the command."""

from importlib.util import find_spec

EXTRAS = {"plots": "matplotlib", "torchcodec": "torchcodec", "gcs": "gcsfs", "azure": "adlfs", "serve": "aiohttp"}
"""Extra of this project -> the package that it installs."""


def check_extra(name: str) -> None:
    """Refuse to begin without an extra.

    Raises:
        ValueError: Its package is not installed; says what to type.
    """
    package = EXTRAS[name]
    if find_spec(package) is None:
        raise ValueError(f"{package} is not installed: pip install 'adapttoken-ray[{name}]'")
