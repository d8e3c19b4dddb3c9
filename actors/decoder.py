"""Reads videos: timelines and frames. The logic is ``pipeline.video``; this times it and stores the frames."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from actors.store import ObjectStore
from pipeline.engine.messages.stage_seconds import StageSeconds
from pipeline.engine.messages.work import Completion, DecodeDone, DecodeWork, ProbeDone, ProbeWork
from pipeline.failures import FailureClass, PipelineError
from pipeline.manifest.questions import Question
from pipeline.planning.question_check import QuestionCheck
from pipeline.planning.video_plan import VideoPlan
from pipeline.settings.config import RunConfig
from pipeline.uris import strip_secrets
from pipeline.video.backends.nvdec import refusal_of
from pipeline.video.frame_store.reading import FrameReader
from pipeline.video.isolated import IsolatedReader
from pipeline.video.probe import VideoProbe
from pipeline.video.probe_cache import ProbeCache
from pipeline.video.slot_table import FramePiece
from pipeline.video.sources import local_video
from pipeline.video.staging import cache_folder
from pipeline.video.undecoded import Undecoded, UndecodedPiece


class DecoderActor:
    """Plain class; one child process of it at a time touches the files."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        plan: Callable[..., VideoPlan],
        check: Callable[[Sequence[Question], VideoPlan], QuestionCheck],
        config: RunConfig,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._store, self._plan, self._check = store, plan, check
        self._config, self._storage_options = config, storage_options
        self._max_bad_share = config.sampling.max_bad_frames_share
        self._reader = IsolatedReader(config.reading, max_bad_frames_share=self._max_bad_share)
        self._frames = FrameReader(self._reader, config.frame_store, storage_options)
        self._is_aborted = False
        self._latest: tuple[str, VideoProbe] | None = None
        self._referred: tuple[str, Any] | None = None
        self._probes = ProbeCache(cache_folder(config.reading) / "probes")

    def probe(self, work: ProbeWork) -> Completion:
        """Stage the video locally, read its timeline unless this node has done so before, plan, check the questions."""
        started = self._begin()
        with self._staged(work) as path:
            self._check_wanted()
            probe = self._read_timeline(work.fingerprint, path)
            room = {} if work.room_bytes is None else {"room_bytes": work.room_bytes}
            plan = self._plan(probe, time_range=work.time_range, **room)
            done = ProbeDone(plan=plan, probe=self._store.put(probe), check=self._check(work.questions, plan))
        return Completion(key=work.key, result=done, seconds=StageSeconds(decode_s=time.perf_counter() - started))

    def _staged(self, work: ProbeWork | DecodeWork) -> AbstractContextManager[str]:
        return local_video(
            work.uri,
            reading=self._config.reading,
            storage_options=self._storage_options,
            fingerprint=work.fingerprint,
        )

    def _read_timeline(self, fingerprint: str, path: str) -> VideoProbe:
        """As this node has read it before, else from the file."""
        reading = self._config.reading
        limits = (self._max_bad_share, reading.max_duration_s, reading.max_video_frames, reading.max_frame_pixels)
        known_as = f"{fingerprint} {limits}"  # other limits may refuse it
        probe = self._probes.get(known_as, path=path)
        if probe is None:
            probe = self._reader.probe(path)
            self._probes.put(known_as, probe)
        return probe

    def _timeline_of(self, work: DecodeWork, path: str) -> VideoProbe:
        """The one that the video was planned with; read again where it went with its process."""
        if self._latest is None or self._latest[0] != work.fingerprint:
            try:
                probe: VideoProbe = self._store.get(work.probe)
            except PipelineError:
                probe = self._read_timeline(work.fingerprint, path)
            self._latest = work.fingerprint, probe
        return replace(self._latest[1], path=path)

    def decode(self, work: DecodeWork) -> Completion:
        """Decode one stretch once; each group gets a ``FramePiece``, and several are stored together."""
        started = self._begin()
        wanted, backend, notes = work.stretch.frame_indices, self._config.sampling.decoder, list[str]()
        with self._staged(work) as path:
            self._check_wanted()
            probe = self._timeline_of(work, path)
            if backend == "nvdec":
                refusal = refusal_of(probe)
                if refusal is None:
                    return self._leave_to_scorer(work, probe, started)
                backend = "pyav"
                notes.append(f"{refusal}: read by PyAV")
            decoded = self._frames.decode(
                probe,
                wanted,
                size=work.size,
                backend=backend,
                fingerprint=work.fingerprint,
                uri=strip_secrets(work.uri),
            )
        bundles: dict[int, dict[int, FramePiece]] = {}
        for position, slots, frames in work.slots.items():
            shown, rows = np.unique(frames, return_inverse=True)
            pixels = decoded.frames[np.searchsorted(wanted, shown)]
            bundles.setdefault(position // work.groups_per_bundle, {})[position] = slots, rows, pixels
        done = DecodeDone(
            bundles={number: self._store.put(bundle) for number, bundle in bundles.items()},
            decoder=decoded.decoder,
            sandbox=decoded.sandbox,
            num_frames_decoded=decoded.num_frames_decoded,
            bad_frames=tuple(int(wanted[row]) for row in decoded.bad_frames),
            notes=(*notes, *self._frames.take_notes()),
        )
        return Completion(key=work.key, result=done, seconds=StageSeconds(decode_s=time.perf_counter() - started))

    def _leave_to_scorer(self, work: DecodeWork, probe: VideoProbe, started: float) -> Completion:
        """Each group gets an ``UndecodedPiece``: who scores it decodes the stretch, once for all groups, on its GPU."""
        wanted = work.stretch.frame_indices
        undecoded = Undecoded(
            uri=work.uri,
            fingerprint=work.fingerprint,
            probe=self._own_reference(work.fingerprint, probe),
            frame_indices=wanted,
            size=work.size or (probe.height, probe.width),
        )
        bundles: dict[int, dict[int, UndecodedPiece]] = {}
        for position, slots, frames in work.slots.items():
            bundle = bundles.setdefault(position // work.groups_per_bundle, {})
            bundle[position] = slots, np.searchsorted(wanted, frames), undecoded
        stored = {number: self._store.put(bundle) for number, bundle in bundles.items()}
        done = DecodeDone(bundles=stored, decoder="", num_frames_decoded=0)
        return Completion(key=work.key, result=done, seconds=StageSeconds(decode_s=time.perf_counter() - started))

    def _own_reference(self, fingerprint: str, probe: VideoProbe) -> Any:
        """To the timeline: it goes with this process, as what is bundled here does, and not sooner."""
        if self._referred is None or self._referred[0] != fingerprint:
            self._referred = fingerprint, self._store.put(probe)
        return self._referred[1]

    def abort(self) -> None:
        """From another thread: what is being read fails at once. A download goes on to its end, for those to come."""
        self._is_aborted, pid = True, self._reader.child_pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _begin(self) -> float:
        """The time; after an abort the next piece of work gets a new child process."""
        if self._is_aborted:
            self._reader.close()
            self._is_aborted = False
        return time.perf_counter()

    def _check_wanted(self) -> None:
        if self._is_aborted:
            raise PipelineError(FailureClass.INTERNAL, "broken off: nobody needs it any more")

    def close(self) -> None:
        """End the child process."""
        self._reader.close()
