"""Seeded damage to a file's bytes, as disks, networks and attackers do it. Pure; ``benchmarks.fuzzing`` reads it."""

import re
from collections.abc import Callable
from random import Random

_BOX_NAME = re.compile(rb"[a-z]{3}[a-z0-9 ]|avcC|hvcC|LIST|RIFF")
_TELLING_NUMBERS = (0, 1, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)
_LONGEST_RUN = 4096


def mutate(data: bytes, rng: Random, *, kind: str) -> bytes:
    """Damage ``data`` once.

    Args:
        data: a file of at least 16 bytes.
        rng: the same state gives the same damage on every machine.
        kind: one of ``MUTATION_KINDS``.

    Raises:
        ValueError: for an unknown kind or too short a file.
    """
    if kind not in _MUTATIONS or len(data) < 16:
        raise ValueError(f"mutate needs at least 16 bytes and a kind of {MUTATION_KINDS}, got {len(data)} and {kind!r}")
    return _MUTATIONS[kind](data, rng)


def _pick_run(data: bytes, rng: Random) -> tuple[int, int]:
    """Start and end of a run within the data, short ones as likely as long ones: the length's logarithm is even."""
    longest = min(_LONGEST_RUN, len(data) // 2)
    length = max(1, int(longest ** rng.random()))
    start = rng.randrange(len(data) - length + 1)
    return start, start + length


def _flip_bits(data: bytes, rng: Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 4, 16, 64))):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _overwrite(data: bytes, rng: Random) -> bytes:
    start, stop = _pick_run(data, rng)
    length = stop - start
    filling = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return data[:start] + filling + data[stop:]


def _delete(data: bytes, rng: Random) -> bytes:
    start, stop = _pick_run(data, rng)
    return data[:start] + data[stop:]


def _duplicate(data: bytes, rng: Random) -> bytes:
    start, stop = _pick_run(data, rng)
    return data[:stop] + data[start:]


def _insert(data: bytes, rng: Random) -> bytes:
    start, stop = _pick_run(data, rng)
    return data[:start] + rng.randbytes(stop - start) + data[start:]


def _truncate(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def _swap_blocks(data: bytes, rng: Random) -> bytes:
    start, stop = _pick_run(data[: len(data) // 2], rng)
    other = rng.randrange(len(data) // 2, len(data) - (stop - start) + 1)
    end = other + stop - start
    return data[:start] + data[other:end] + data[stop:other] + data[start:stop] + data[end:]


def _edit_number(data: bytes, rng: Random) -> bytes:
    """Change a 4-byte number near something that looks like the name of a box: sizes, counts, offsets, times."""
    names = [match.start() for match in _BOX_NAME.finditer(data)] or [rng.randrange(len(data))]
    start = min(max(0, rng.choice(names) + rng.choice((-4, 4, 8, 12, 16, 20))), len(data) - 4)
    old = int.from_bytes(data[start : start + 4], "big")
    new = rng.choice((*_TELLING_NUMBERS, old + 1, old - 1, old * 2, rng.getrandbits(32))) & 0xFFFF_FFFF
    return data[:start] + new.to_bytes(4, "big") + data[start + 4 :]


_MUTATIONS: dict[str, Callable[[bytes, Random], bytes]] = {
    "flip_bits": _flip_bits,
    "overwrite": _overwrite,
    "delete": _delete,
    "duplicate": _duplicate,
    "insert": _insert,
    "truncate": _truncate,
    "swap_blocks": _swap_blocks,
    "edit_number": _edit_number,
}
MUTATION_KINDS = tuple(_MUTATIONS)
