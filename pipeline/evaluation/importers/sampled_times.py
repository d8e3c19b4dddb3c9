"""When a run will look at a video: the sampling of the run, done at import, so that subtitles can be chosen by it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.method.sampling import sample_frames
from pipeline.settings.config import SamplingConfig
from pipeline.settings.sources import ReadingConfig
from pipeline.uris import StorageOptions
from pipeline.video.isolated import IsolatedReader
from pipeline.video.sources import local_video


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampledTimes:
    """``times_s`` (F,) of the sampled frames, and the duration, both seconds of presentation time."""

    times_s: npt.NDArray[np.float64]
    duration_s: float


class TimesReader:
    """Reads timelines in a child process, as a run does. Use as a context."""

    def __init__(self, sampling: SamplingConfig, *, storage_options: StorageOptions = None) -> None:
        self._sampling, self._reading, self._storage_options = sampling, ReadingConfig(), storage_options
        self._reader = IsolatedReader(self._reading, max_bad_frames_share=sampling.max_bad_frames_share)

    def read(self, uri: str) -> SampledTimes:
        """The sampled times of one video.

        Raises:
            PipelineError: The video cannot be read.
        """
        with local_video(uri, reading=self._reading, storage_options=self._storage_options) as path:
            probe = self._reader.probe(path)
        sample = sample_frames(
            probe.pts_s,
            duration_s=probe.duration_s,
            sample_fps=self._sampling.sample_fps,
            max_frames=self._sampling.max_frames,
        )
        return SampledTimes(times_s=sample.times_s, duration_s=probe.duration_s)

    def close(self) -> None:
        """End the child process."""
        self._reader.close()
