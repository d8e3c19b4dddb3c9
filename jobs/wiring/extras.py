"""Parts of the installation that only some commands need: what is missing is said before any work, with the command."""

from importlib.util import find_spec

EXTRAS = {
    **{"plots": "matplotlib", "torchcodec": "torchcodec", "gcs": "gcsfs", "azure": "adlfs"},
    **{"serve": "aiohttp", "mlflow": "mlflow", "wandb": "wandb", "otel": "opentelemetry.exporter.otlp.proto.http"},
}
"""Extra of this project -> the package that it installs, as it is imported."""


def check_extra(name: str) -> None:
    """Refuse to begin without an extra.

    Raises:
        ValueError: Its package is not installed; says what to type.
    """
    package = EXTRAS[name]
    if not _is_there(package):
        raise ValueError(f"{package} is not installed: pip install 'adapttoken-ray[{name}]'")


def _is_there(package: str) -> bool:
    """Of ``a.b`` both, without importing more than ``a``."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
