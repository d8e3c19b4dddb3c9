"""A timeline as bytes, for the cache and for the way out of the decoding process. Reading them runs no code."""

import dataclasses
import io
import json
import zipfile
from fractions import Fraction

import numpy as np

from pipeline.video.containers import Container
from pipeline.video.probe import VideoProbe

_FRAMES, _KEYFRAMES = ("pts", "pts_s"), ("keyframe_indices", "keyframe_pts", "keyframe_dts")
_ARRAYS = (*_FRAMES, *_KEYFRAMES, "packet_pts", "packet_dts", "packet_pos")


def pack_probe(probe: VideoProbe) -> bytes:
    """Everything but ``path``."""
    values = {
        field.name: getattr(probe, field.name)
        for field in dataclasses.fields(probe)
        if field.name not in (*_ARRAYS, "path")
    }
    values |= {"container": probe.container.value, "time_base": str(probe.time_base)}
    values["pixel_aspect"] = str(probe.pixel_aspect)
    buffer = io.BytesIO()
    arrays = {name: getattr(probe, name) for name in _ARRAYS}
    np.savez_compressed(buffer, values=np.array(json.dumps(values)), **arrays)
    return buffer.getvalue()


def unpack_probe(packed: bytes, *, path: str) -> VideoProbe:
    """The timeline for the copy of the video at ``path``.

    Raises:
        ValueError: These bytes are no timeline.
    """
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
            values = json.loads(str(stored["values"]))
            arrays = {name: stored[name] for name in _ARRAYS}
        values |= {"container": Container(values["container"]), "time_base": Fraction(values["time_base"])}
        values["pixel_aspect"] = Fraction(values["pixel_aspect"])
        values["warnings"] = tuple(map(str, values["warnings"]))
        return VideoProbe(path=path, **values, **arrays)
    except (OSError, EOFError, KeyError, TypeError, ZeroDivisionError, zipfile.BadZipFile) as error:
        raise ValueError(f"{len(packed)} bytes are no packed timeline ({error}); probe the video again") from error
