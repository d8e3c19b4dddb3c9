"""One small video read from end to end before a process goes into its sandbox, where no module can be loaded any more.

Libraries load parts of themselves when these are first used; which ones depends on their versions.
"""

import os
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages
from tempfile import TemporaryFile

import numpy as np

from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video
from pipeline.video.video_file import handed_over

_ANYWHERE = "/rehearsal"
_NAMED = {
    "av": (),
    "numpy": ("numpy.ma", "numpy.linalg", "numpy.lib.stride_tricks"),
    "torchcodec": ("torchcodec.decoders", "torchcodec.transforms"),
}
_WHOLE = ("av",)  # small; it has parts that only some streams need
_FRAMES, _SIDE = 6, 32


def load_for_good(library: str) -> None:
    """Import all that reading a video takes: PyAV, and ``library`` where it is another one and can be loaded."""
    for name in ("numpy", "av"):
        _load(name)
    if library != "pyav":
        os.environ.setdefault("PATH", "")  # decord looks into it
        with suppress(ImportError, OSError, RuntimeError):  # said when a video is to be read by it
            _load(library)
    for container, codec in (("matroska", "mpeg4"), ("mpegts", "mpeg2video")):
        _read_one(container, codec)


def _load(library: str) -> None:
    package = import_module(library)
    inside = [found.name for found in walk_packages(package.__path__, f"{library}.")] if library in _WHOLE else []
    for name in (*inside, *_NAMED.get(library, ())):
        if not name.endswith("__main__"):
            import_module(name)


def _read_one(container: str, codec: str) -> None:
    """Make a video, probe it, decode some of it; nobody looks at what comes out."""
    import av

    with TemporaryFile() as file:
        with av.open(file, "w", format=container) as out:
            stream = out.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = _SIDE, _SIDE, "yuv420p"
            for _ in range(_FRAMES):
                out.mux(stream.encode(av.VideoFrame(_SIDE, _SIDE, "yuv420p")))
            out.mux(stream.encode())
        file.flush()
        with handed_over(_ANYWHERE, os.dup(file.fileno())):
            probe = probe_video(_ANYWHERE)
            decode_stretch(probe, np.arange(1, 3, dtype=np.int64), size=(_SIDE // 2, _SIDE // 2))
