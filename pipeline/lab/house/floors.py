"""Rooms on floors: each above all that it needs. Arrows that would have to run back up are named."""

from collections.abc import Mapping

Arrow = tuple[str, str]


def split_arrows(counted: Mapping[Arrow, int]) -> tuple[set[Arrow], set[Arrow]]:
    """Those that can run down, and those that then run back up: heavy ones are laid first.

    ``a -> b 5, b -> a 1  =>  down {(a, b)}, up {(b, a)}``
    """
    down: set[Arrow] = set()
    up: set[Arrow] = set()
    for arrow in sorted(counted, key=lambda one: (-counted[one], one)):
        (up if _leads(down, arrow[1], arrow[0]) else down).add(arrow)
    return down, up


def _leads(arrows: set[Arrow], start: str, end: str) -> bool:
    found, pending = set[str](), [start]
    while pending:
        room = pending.pop()
        if room == end:
            return True
        if room not in found:
            found.add(room)
            pending += [need for one, need in arrows if one == room]
    return False


def floor_of_each(rooms: set[str], down: set[Arrow]) -> dict[str, int]:
    """The ground floor is 1 and needs nobody."""
    floors: dict[str, int] = {}

    def climb(room: str) -> int:
        if room not in floors:
            floors[room] = 1 + max((climb(need) for one, need in down if one == room), default=0)
        return floors[room]

    for room in sorted(rooms):
        climb(room)
    return floors
