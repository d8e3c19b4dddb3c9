"""Frames that carry their number as a bar code, and makers of files whose containers are wrong about them."""

from pathlib import Path

import av
import numpy as np

from pipeline.video.decode import decode_stretch
from tests.unit.video.odd_videos import write_video

COLUMNS, ROWS = 5, 3


def paint_number(index, *, width, height):
    """(height, width, 3): one bit per cell, white or dark."""
    cells = np.array([(index >> bit) & 1 for bit in range(COLUMNS * ROWS)]).reshape(ROWS, COLUMNS)
    y, x = np.mgrid[0:height, 0:width]
    gray = 30 + 190 * cells[y * ROWS // height, x * COLUMNS // width]
    return np.repeat(gray[:, :, None], 3, axis=2).astype(np.uint8)


def read_number(frame):
    """The number in a picture of any size."""
    height, width = frame.shape[:2]
    y, x = ((2 * np.arange(n) + 1) * size // (2 * n) for n, size in ((ROWS, height), (COLUMNS, width)))
    return int(sum(1 << bit for bit, value in enumerate(frame[np.ix_(y, x)].mean(axis=2).ravel()) if value > 125))


def write_numbered(path, *, first=0, step=1, **options):
    """A video whose frame i shows ``first + step * i``; 160 x 96 unless other sizes are given."""

    def paint(index, *, width, height):
        return paint_number(first + step * index, width=width, height=height)

    return write_video(path, paint=paint, **{"width": 160, "height": 96, **options})


def numbers_of(probe, indices=None):
    """What decoding shows at some frames, all by default; every frame also comes out alone as in the whole."""
    indices = np.arange(probe.num_frames) if indices is None else np.asarray(indices)
    decoded = decode_stretch(probe, indices)
    assert decoded.bad_frames == ()
    for position in range(0, len(indices), max(1, len(indices) // 7)):
        alone = decode_stretch(probe, indices[position : position + 1])
        assert alone.bad_frames == ()
        np.testing.assert_array_equal(alone.frames[0], decoded.frames[position])
    return [read_number(frame) for frame in decoded.frames]


def join(target, *parts):
    """``cat parts > target``."""
    Path(target).write_bytes(b"".join(Path(part).read_bytes() for part in parts))
    return str(target)


def cut_before_packet(source, target, number, *, back=0):
    """From the place on where a coded frame is stored, or some bytes before."""
    with av.open(str(source)) as opened:
        packets = [packet for packet in opened.demux(video=0) if packet.size]
        pos = packets[number].pos
    Path(target).write_bytes(Path(source).read_bytes()[pos - back :])
    return str(target)


def rename_box(path, old, new):
    """Make a box of an mp4 one that nobody reads."""
    content = Path(path).read_bytes()
    assert content.count(old) == 1
    Path(path).write_bytes(content.replace(old, new))
    return str(path)
