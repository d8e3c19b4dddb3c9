"""What other installed packages add to this project under a name: looked up in their metadata, imported when used."""

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

_BROKEN = (
    ImportError,
    SyntaxError,
    NameError,
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    OSError,
    RuntimeError,
)
"""What importing a package raises that lacks something or was written for another version."""


class PlugInError(ValueError):
    """Another package's addition cannot be used; names it and that package."""


@lru_cache(maxsize=8)
def _offered(group: str) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


def plug_in_names(group: str) -> frozenset[str]:
    """Names that installed packages offer; none of them is imported."""
    return frozenset(_offered(group))


def check_own(group: str, name: str) -> None:
    """Refuse a name of this project's own that a package offers, too: whichever were taken, somebody is misled.

    Raises:
        PlugInError: One does.
    """
    if name in _offered(group):
        others = ", ".join(sorted(map(_package, _offered(group)[name])))
        raise PlugInError(f"{name!r} is offered by {others}, and adapttoken has one of that name; uninstall {others}")


def load_plug_in(group: str, name: str) -> Any:
    """What a package offers under a name of `plug_in_names`.

    Raises:
        PlugInError: Two packages do, or it cannot be imported.
    """
    points = _offered(group)[name]
    if len(points) > 1:
        packages = ", ".join(sorted(map(_package, points)))
        raise PlugInError(f"{name!r} is offered by {packages}; uninstall all but one")
    try:
        return points[0].load()
    except _BROKEN as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise PlugInError(
            f"{name!r} of {_package(points[0])} cannot be imported ({points[0].value}: {what}); update or uninstall it"
        ) from error


def describe_plug_in(group: str, name: str) -> str:
    """``package 1.0``, for messages."""
    return ", ".join(sorted(map(_package, _offered(group)[name])))


def forget_plug_ins() -> None:
    """Look again: packages have been installed or removed."""
    _offered.cache_clear()


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed package"
