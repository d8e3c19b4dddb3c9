"""Reads videos: timelines and frames. The logic is ``pipeline.video``; this times it and stores the frames."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from actors.store import ObjectStore
from pipeline.engine.work import Completion, DecodeDone, DecodeWork, ProbeDone, ProbeWork, StageSeconds
from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video
from pipeline.video.sources import resolve_local


class DecoderActor:
    """Plain class, one per decoding process."""

    def __init__(
        self, store: ObjectStore, *, max_bad_frames_share: float, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self._store, self._max_bad_share, self._storage_options = store, max_bad_frames_share, storage_options

    def probe(self, work: ProbeWork) -> Completion:
        """Stage the video locally and read its timeline."""
        started = time.perf_counter()
        path = resolve_local(work.uri, self._storage_options)
        probe = probe_video(path, max_missing_share=self._max_bad_share)
        seconds = StageSeconds(decode_s=time.perf_counter() - started)
        return Completion(key=work.key, result=ProbeDone(probe=probe), seconds=seconds)

    def decode(self, work: DecodeWork) -> Completion:
        """Decode one stretch once; each group gets a bundle ``(slots, frames)`` of its own."""
        started = time.perf_counter()
        decoded = decode_stretch(work.probe, work.stretch.frame_indices, size=work.size)
        bundles = {}
        for position, (slots, frames) in work.slots.items():
            rows = np.searchsorted(work.stretch.frame_indices, frames)
            bundles[position] = self._store.put((slots, decoded.frames[rows]))
        done = DecodeDone(
            bundles=bundles,
            decoder=decoded.decoder,
            num_frames_decoded=decoded.num_frames_decoded,
            num_bad_frames=len(decoded.bad_frames),
        )
        return Completion(key=work.key, result=done, seconds=StageSeconds(decode_s=time.perf_counter() - started))
