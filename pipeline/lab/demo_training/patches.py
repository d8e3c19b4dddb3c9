"""Training pictures: temporal patches of demo videos that were really encoded, decoded and resized.

Shape suffixes:
- N = temporal patches, F = frames per patch (2), H, W = 56
- K = visual tokens per patch (4)
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.demo.archive import ArchiveSpec, write_video
from pipeline.demo.scenes import COLORS, HEIGHT, SHAPES, WIDTH, Appearance
from pipeline.lab.demo_training.architecture import FRAME_SIDE_PX
from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video

FRAMES_PER_PATCH = 2
TOKENS_PER_SIDE = 2
_COLOR_NAMES = tuple(COLORS)
_MIN_OVERLAP = 0.12  # of a token's area: less of the object than this says nothing about it


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchPool:
    """Patches and what is on them. Patches of one appearance share its ``appearance_N`` number; −1 is background."""

    frames_NFHW3: NDArray[np.uint8]
    shape_N: NDArray[np.int64]
    color_N: NDArray[np.int64]
    appearance_N: NDArray[np.int64]
    video_N: NDArray[np.int64]
    shows_NK: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.shape_N)

    def first_videos(self, num_videos: int) -> "PatchPool":
        """Only the patches of the first videos, which stand first and keep their indices."""
        end = int(np.searchsorted(self.video_N, num_videos))
        return PatchPool(**{field.name: getattr(self, field.name)[:end] for field in fields(self)})


def build_pool(folder: Path, *, num_videos: int, frames_per_video: int, seed: int, processes: int = 1) -> PatchPool:
    """Write training videos into ``folder`` (kept for the next call) and read them back as patches.

    Objects come and go fast and scenes are short: what a model learns is shapes, not the few thousand pictures that a
    slow video would hold.
    """
    spec = ArchiveSpec(
        num_frames=(frames_per_video,) * num_videos,
        questions_per_video=1,
        seed=seed,
        distractor_share=0.35,
        split="train",
        needle_frames=(2, 8),
        scene_frames=(6, 30),
    )
    folder.mkdir(parents=True, exist_ok=True)
    if processes > 1:  # fresh interpreters: a forked one may inherit torch's locked threads
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
            parts = list(workers.map(partial(_read_video, folder, spec), range(num_videos)))
    else:
        parts = [_read_video(folder, spec, index) for index in range(num_videos)]
    return PatchPool(
        **{
            name: np.concatenate([part[name] for part in parts])
            for name in ("frames_NFHW3", "shape_N", "color_N", "appearance_N", "video_N", "shows_NK")
        }
    )


def _read_video(folder: Path, spec: ArchiveSpec, index: int) -> dict[str, NDArray[np.generic]]:
    cached = folder / f"train-s{spec.seed}-v{index:03d}-f{spec.num_frames[index]}.npz"
    if cached.exists():
        return dict(np.load(cached))
    path = folder / f"train-v{index:03d}.mp4"
    timeline = write_video(path, spec, video_index=index)
    probe = probe_video(str(path))
    side = FRAME_SIDE_PX
    decoded = decode_stretch(probe, np.arange(spec.num_frames[index]), size=(side, side))
    num_patches = spec.num_frames[index] // FRAMES_PER_PATCH
    frames = decoded.frames[: num_patches * FRAMES_PER_PATCH].reshape(num_patches, FRAMES_PER_PATCH, side, side, 3)
    part: dict[str, NDArray[np.generic]] = {
        "frames_NFHW3": frames,
        **label_patches(timeline, num_patches, first_number=100_000 * index),
    }
    part["video_N"] = np.full(num_patches, index)
    np.savez(cached, **part)  # type: ignore[arg-type]
    path.unlink()
    return part


def label_patches(
    timeline: list[Appearance], num_patches: int, *, first_number: int = 0
) -> dict[str, NDArray[np.generic]]:
    """What each patch shows; a patch that two appearances touch cannot occur (there are free frames between)."""
    shape, color, appearance_of = (np.full(num_patches, -1) for _ in range(3))
    shows_NK = np.zeros((num_patches, TOKENS_PER_SIDE**2), dtype=bool)
    for number, appearance in enumerate(timeline, start=first_number):
        first, last = appearance.start_frame // FRAMES_PER_PATCH, (appearance.end_frame - 1) // FRAMES_PER_PATCH
        for patch in range(first, min(last + 1, num_patches)):
            shape[patch] = SHAPES.index(appearance.shape)
            color[patch] = _COLOR_NAMES.index(appearance.color)
            appearance_of[patch] = number
            for frame in range(patch * FRAMES_PER_PATCH, (patch + 1) * FRAMES_PER_PATCH):
                if appearance.start_frame <= frame < appearance.end_frame:
                    shows_NK[patch] |= _tokens_showing(appearance, frame)
    return {"shape_N": shape, "color_N": color, "appearance_N": appearance_of, "shows_NK": shows_NK}


def _tokens_showing(appearance: Appearance, frame: int) -> NDArray[np.bool_]:
    left, top = appearance.corner_at(frame)
    side = appearance.side_px
    token_w, token_h = WIDTH / TOKENS_PER_SIDE, HEIGHT / TOKENS_PER_SIDE
    shares = []
    for row in range(TOKENS_PER_SIDE):
        for column in range(TOKENS_PER_SIDE):
            width = min(left + side, (column + 1) * token_w) - max(left, column * token_w)
            height = min(top + side, (row + 1) * token_h) - max(top, row * token_h)
            shares.append(max(width, 0) * max(height, 0) / (token_w * token_h))
    return np.array(shares) >= _MIN_OVERLAP
