"""What a run has to do, video by video, in columns: a million questions pickle at once, and are records on access."""

from collections.abc import Collection
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipeline.manifest.questions import QuestionTable
from pipeline.manifest.record_table import BLOCK_ROWS, IntArray, RecordTable
from pipeline.manifest.time_range import TimeRange
from pipeline.planning.tasks import VideoTask
from pipeline.results.key_set import KeySet
from pipeline.results.keys import question_keys


class TaskTable(RecordTable[VideoTask]):
    """Tasks in columns, in the order of their videos."""

    def __init__(
        self,
        *,
        questions: QuestionTable,
        starts: IntArray,
        video_ids: IntArray,
        fingerprints: pa.Array,
        config_hash: str,
        keys: pa.Array | None = None,
    ) -> None:
        """Take columns.

        Args:
            questions: video by video, in manifest order within one.
            starts: ``(V + 1,)`` task v holds the questions ``[starts[v], starts[v + 1])``.
            video_ids: ``(V,)`` ascending.
            fingerprints: ``(V,)`` of the videos.
            config_hash: of the settings.
            keys: ``question_key`` of each question; None where all questions of every video are here: then a video's
                keys are made when it is asked for, and a run's start does not wait for all.
        """
        self._questions, self._keys, self._starts = questions, keys, starts
        self._video_ids, self._fingerprints, self._config_hash = video_ids, fingerprints, config_hash

    @property
    def num_questions(self) -> int:
        """Over all videos."""
        return len(self._questions)

    @property
    def config_hash(self) -> str:
        """Of the settings."""
        return self._config_hash

    @property
    def video_ids(self) -> IntArray:
        """``(V,)`` in order."""
        return self._video_ids

    def uris(self) -> list[str]:
        """Where each task's video is."""
        return [self._questions.videos[code] for code in self._codes()]

    def ranges(self) -> list[TimeRange | None]:
        """The part of each task's video that is asked about."""
        return [self._questions.ranges[code] for code in self._codes()]

    def num_without_transcript(self) -> int:
        """Questions whose transcript cannot be used: they will fail unasked."""
        return self._questions.num_without_transcript()

    def _codes(self) -> list[int]:
        codes: list[int] = self._questions.video_codes[self._starts[:-1]].tolist()
        return codes

    def num_questions_each(self) -> IntArray:
        """``(V,)`` questions by video."""
        return np.diff(self._starts)

    def without(self, video_ids: Collection[int]) -> "TaskTable":
        """The tasks of all other videos."""
        return self.take(np.flatnonzero(~np.isin(self._video_ids, list(video_ids))))

    def less(self, finished: KeySet) -> "TaskTable":
        """Without the questions of these keys, and without videos that have no other."""
        keys = [key for task in self for key in task.question_keys]
        is_left = ~finished.contains_all_of(keys)
        num_left = np.add.reduceat(is_left.astype(np.int64), self._starts[:-1]) if len(self) else self._starts[:0]
        videos = np.flatnonzero(num_left)
        return TaskTable(
            questions=self._questions.take(np.flatnonzero(is_left)),
            starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(num_left[videos])]),
            video_ids=self._video_ids[videos],
            fingerprints=self._fingerprints.take(pa.array(videos)),
            config_hash=self._config_hash,
            keys=pa.array(keys, pa.string()).filter(pa.array(is_left)),
        )

    def __len__(self) -> int:
        return len(self._video_ids)

    def records_per_block(self) -> int:
        """See ``RecordTable``; rows are questions."""
        return max(1, BLOCK_ROWS * len(self) // max(1, self.num_questions))

    def records(self, start: int, stop: int) -> list[VideoTask]:
        """See ``RecordTable``."""
        bounds = self._starts[start : stop + 1].tolist()
        first = bounds[0]
        questions = self._questions.records(first, bounds[-1])
        fingerprints = self._fingerprints.slice(start, stop - start).to_pylist()
        keys: list[str] | None = None if self._keys is None else self._keys.slice(first, bounds[-1] - first).to_pylist()

        def keys_of(at: int, low: int, high: int) -> list[str]:
            if keys is not None:
                return keys[low - first : high - first]
            own = questions[low - first : high - first]
            return question_keys(own, fingerprint=fingerprints[at], config_hash=self._config_hash)

        return [
            VideoTask(
                video_id=int(self._video_ids[start + at]),
                uri=questions[low - first].video,
                fingerprint=fingerprints[at],
                questions=tuple(questions[low - first : high - first]),
                question_keys=tuple(keys_of(at, low, high)),
                time_range=questions[low - first].time_range,
            )
            for at, (low, high) in enumerate(pairwise(bounds))
        ]

    def take(self, positions: IntArray) -> "TaskTable":
        """See ``RecordTable``."""
        sizes = self.num_questions_each()[positions]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        rows = np.repeat(self._starts[:-1][positions] - starts[:-1], sizes) + np.arange(starts[-1])
        return TaskTable(
            questions=self._questions.take(rows),
            starts=starts,
            video_ids=self._video_ids[positions],
            fingerprints=self._fingerprints.take(pa.array(positions)),
            config_hash=self._config_hash,
            keys=None if self._keys is None else self._keys.take(pa.array(rows)),
        )
