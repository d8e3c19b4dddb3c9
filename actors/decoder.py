"""Reads videos: timelines and frames. The logic is ``pipeline.video``; this times it and stores the frames."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actors.store import ObjectStore
from pipeline.engine.video_plan import VideoPlan
from pipeline.engine.work import Completion, DecodeDone, DecodeWork, ProbeDone, ProbeWork, StageSeconds
from pipeline.video.decode import decode_stretch
from pipeline.video.probe import VideoProbe, probe_video
from pipeline.video.sources import resolve_local


class DecoderActor:
    """Plain class, one per decoding process."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        plan: Callable[[VideoProbe], VideoPlan],
        max_bad_frames_share: float,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._store, self._plan = store, plan
        self._max_bad_share, self._storage_options = max_bad_frames_share, storage_options

    def probe(self, work: ProbeWork) -> Completion:
        """Stage the video locally, read its timeline, and plan."""
        started = time.perf_counter()
        path = resolve_local(work.uri, self._storage_options)
        plan = self._plan(probe_video(path, max_missing_share=self._max_bad_share))
        seconds = StageSeconds(decode_s=time.perf_counter() - started)
        return Completion(key=work.key, result=ProbeDone(plan=plan), seconds=seconds)

    def decode(self, work: DecodeWork) -> Completion:
        """Decode one stretch once; each group gets a ``FrameBundle`` of its own."""
        started = time.perf_counter()
        decoded = decode_stretch(work.probe, work.stretch.frame_indices, size=work.size)
        bundles = {}
        for position, (slots, frames) in work.slots.items():
            shown, rows = np.unique(frames, return_inverse=True)
            pixels = decoded.frames[np.searchsorted(work.stretch.frame_indices, shown)]
            bundles[position] = self._store.put((slots, rows, pixels))
        done = DecodeDone(
            bundles=bundles,
            decoder=decoded.decoder,
            num_frames_decoded=decoded.num_frames_decoded,
            bad_frames=tuple(int(work.stretch.frame_indices[row]) for row in decoded.bad_frames),
        )
        return Completion(key=work.key, result=done, seconds=StageSeconds(decode_s=time.perf_counter() - started))
