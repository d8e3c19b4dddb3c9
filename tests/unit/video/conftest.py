"""Small test videos, each with one property that decoders get wrong; files that are broken; a reference decoder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.video import odd_videos
from tests.unit.video.odd_videos import VFR_TICKS, make_odd_video, remux, write_audio

COMMON = ("b_frames", "odd_size", "vfr", "late_start", "late_start_mkv", "mkv", "mpegts", "avi", "flv", "rotated")
COMMON += ("open_gop", "ten_bit", "ffv1", "edit_list")
WriteVideo = Callable[..., str]


@pytest.fixture(scope="session")
def write_video(tmp_path_factory) -> WriteVideo:
    folder = tmp_path_factory.mktemp("videos")

    def write(name, **options) -> str:
        return odd_videos.write_video(folder / name, **options)

    return write


@pytest.fixture(scope="session")
def vfr_ticks() -> list[int]:
    """Milliseconds of a variable frame rate."""
    return VFR_TICKS


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> dict[str, str]:
    """Name -> path of readable videos."""
    folder = tmp_path_factory.mktemp("odd")
    return {name: make_odd_video(name, folder) for name in COMMON}


@pytest.fixture(scope="session")
def damaged_video(videos, tmp_path_factory) -> str:
    """The 20th stored frame is no H.264 any more: its lengths are nonsense."""

    def damage(number: int, data: bytes) -> bytes:
        return b"\xff" * len(data) if number == 20 else data

    return remux(videos["b_frames"], tmp_path_factory.mktemp("damaged") / "damaged.mp4", damage=damage)


@pytest.fixture(scope="session")
def broken_files(videos, tmp_path_factory) -> dict[str, str]:
    """Name -> path of files that are no videos, or not whole."""
    folder = tmp_path_factory.mktemp("broken")
    whole = Path(videos["b_frames"]).read_bytes()
    remux(videos["b_frames"], folder / "faststart.mp4", options={"movflags": "faststart"})
    index_first = (folder / "faststart.mp4").read_bytes()
    contents = {
        "no_index": whole[: len(whole) // 2],
        "cut_off": index_first[: int(len(index_first) * 0.7)],
        "text": b"this is not a video\n" * 20,
        "garbage": bytes(np.random.default_rng(0).integers(128, 256, 4096, dtype=np.uint8)),
        "empty": b"",
        "hls": b"\n#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "dash": b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = str(folder / f"{name}.mp4")
        Path(paths[name]).write_bytes(content)
    (folder / "folder.mp4").mkdir()
    paths["folder"] = str(folder / "folder.mp4")
    paths["audio_only"] = write_audio(folder / "audio.mp4")
    return paths


@pytest.fixture(scope="session")
def decode_sequentially() -> Callable[[str], tuple[list[int], np.ndarray]]:
    """The reference: every frame from the first on, at native size, PyAV's own conversion, numpy's rotation."""

    return odd_videos.decode_sequentially
