"""How stored pictures are to be shown: turned, mirrored, stretched where their pixels are not square."""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_MATRIX = struct.Struct("=9i")
_MOST_STRETCHED = 10  # beyond that a pixel aspect is taken for a mistake


@dataclass(frozen=True, slots=True)
class Orientation:
    """First mirrored left to right, then turned by ``rotation`` degrees counterclockwise: 0, 90, 180 or 270."""

    rotation: int = 0
    is_mirrored: bool = False


def read_orientation(frame: Any) -> Orientation:
    """By a frame's display matrix ``(a b u, c d v, x y w)``: the point (x, y) is shown at (ax + cy, bx + dy).

    One that does anything else than quarter turns and mirroring leaves the picture as it is stored.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation(_quarter_turns(frame.rotation))
    a, b, _, c, d, *_ = _MATRIX.unpack(bytes(matrix)[: _MATRIX.size])
    if (a or d) and (b or c) and abs(a * d) > 0 and abs(b * c) > 0:
        return Orientation()
    if a * d - b * c >= 0:
        return Orientation(_quarter_turns(frame.rotation))
    return Orientation(_quarter_turns(-math.degrees(math.atan2(-b, -a))), is_mirrored=True)


def _quarter_turns(degrees: float) -> int:
    return round(degrees) % 360 if round(degrees) % 90 == 0 else 0


def read_pixel_aspect(stream: Any) -> Fraction:
    """Width of a stored pixel by its height, as the container says, else the codec; 1 where nobody says anything."""
    aspect = Fraction(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
    return aspect if Fraction(1, _MOST_STRETCHED) <= aspect <= _MOST_STRETCHED else Fraction(1)


def display_size(width: int, height: int, rotation: int, pixel_aspect: Fraction = Fraction(1)) -> tuple[int, int]:
    """Stored (width, height) -> displayed (width, height), with square pixels and none of them lost.

    ``(640, 360, 90) -> (360, 640)``, ``(720, 576, 0, 16/15) -> (768, 576)``, ``(720, 480, 0, 8/9) -> (720, 540)``
    """
    if pixel_aspect > 1:
        width = round(width * pixel_aspect)
    else:
        height = round(height / pixel_aspect)
    return (height, width) if rotation % 180 == 90 else (width, height)
