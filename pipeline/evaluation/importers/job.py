"""Imports one benchmark: annotations, videos and subtitles in; a manifest and a report of every odd row out."""

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import fsspec
import pyarrow as pa

from pipeline.evaluation.benchmarks import Benchmark, find_benchmark
from pipeline.evaluation.importers.annotations import read_annotations
from pipeline.evaluation.importers.collection import (
    PlacedQuestion,
    convert_files,
    identify_questions,
    keep_chosen,
    place_questions,
)
from pipeline.evaluation.importers.files import SUBTITLE_SUFFIXES, VIDEO_SUFFIXES, FileIndex
from pipeline.evaluation.importers.manifest_table import manifest_table
from pipeline.evaluation.importers.records import BenchmarkQuestion, Reason, Remark
from pipeline.evaluation.importers.sampled_times import SampledTimes, TimesReader
from pipeline.failures import PipelineError
from pipeline.method.subtitles import MIN_WIDTH_S, Subtitle, parse_srt, parse_timed_lines, subtitles_for_frames
from pipeline.settings.config import SamplingConfig
from pipeline.uris import StorageOptions

_NO_VIDEO = (Reason.MISSING_VIDEO, Reason.AMBIGUOUS_VIDEO, Reason.UNREADABLE_VIDEO)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportRequest:
    """What to import.

    Attributes:
        subtitles: folder; None asks without subtitles.
        splits: values of the benchmark's split category; empty keeps all.
        skips: ids, videos or values of a category that are left out.
        sampling: of the run, which decides the subtitles.
    """

    benchmark: str
    annotations: str
    videos: str
    subtitles: str | None = None
    splits: Collection[str] = ()
    skips: Collection[str] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    storage_options: StorageOptions = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """What came of it.

    Attributes:
        layout: of the annotation files.
        table: the manifest.
        remarks: on every row that is left out or odd.
    """

    benchmark: str
    layout: str
    table: pa.Table
    remarks: tuple[Remark, ...]

    @property
    def unplaced_videos(self) -> dict[str, str]:
        """Video -> why its questions cannot be asked."""
        return {remark.detail: remark.reason.value for remark in self.remarks if remark.reason in _NO_VIDEO}

    def counts(self) -> dict[Reason, int]:
        """Rows per reason, the most frequent first."""
        return dict(Counter(remark.reason for remark in self.remarks).most_common())


def import_benchmark(request: ImportRequest) -> Import:
    """Read everything that belongs to a benchmark.

    Raises:
        ValueError: Annotations (`AnnotationError`), a folder or an option cannot be used.
    """
    benchmark, storage = find_benchmark(request.benchmark), request.storage_options
    if request.subtitles is not None and not benchmark.has_subtitles:
        raise ValueError(f"{benchmark.title} has no subtitles: leave --subtitles out")
    # 1. annotations (files → questions, and remarks on rows that are none)
    layout, converted = convert_files(read_annotations(request.annotations, storage_options=storage), benchmark.name)
    remarks = [item for item in converted if isinstance(item, Remark)]
    questions = [item for item in converted if isinstance(item, BenchmarkQuestion)]
    # 2. choose (all questions → those of the split)
    identified = identify_questions(questions, benchmark.name)
    chosen = list(keep_chosen(identified, benchmark, splits=request.splits, skips=request.skips))
    remarks += [item for item in chosen if isinstance(item, Remark)]
    # 3. place (1 video file for each)
    videos = FileIndex(request.videos, VIDEO_SUFFIXES, storage_options=storage)
    placed, unplaced = place_questions([item for item in chosen if isinstance(item, BenchmarkQuestion)], videos)
    remarks += [remark for item in placed for remark in item.question.remarks()] + unplaced
    # 4. subtitles (1 track → those of the sampled frames)
    texts: dict[str, list[Subtitle]] | None = None
    if request.subtitles is not None:
        texts, odd = _choose_subtitles(placed, request, request.subtitles)
        remarks += odd
        placed = [item for item in placed if item.question.question_id in texts]
    return _finish(benchmark, layout, placed, texts, remarks)


def _finish(
    benchmark: Benchmark,
    layout: str,
    placed: Sequence[PlacedQuestion],
    texts: dict[str, list[Subtitle]] | None,
    remarks: Sequence[Remark],
) -> Import:
    return Import(
        benchmark=benchmark.name,
        layout=layout,
        table=manifest_table(placed, benchmark, subtitles=texts),
        remarks=tuple(remarks),
    )


def _choose_subtitles(
    placed: Sequence[PlacedQuestion], request: ImportRequest, folder: str
) -> tuple[dict[str, list[Subtitle]], list[Remark]]:
    """Question id -> its subtitles in time; questions about unreadable videos are not in it."""
    index = FileIndex(folder, SUBTITLE_SUFFIXES, storage_options=request.storage_options)
    texts: dict[str, list[Subtitle]] = {}
    remarks: list[Remark] = []
    times: dict[str, SampledTimes | PipelineError] = {}
    with closing(TimesReader(request.sampling, storage_options=request.storage_options)) as reader:
        for item in placed:
            if item.video not in times:
                times[item.video] = _read_times(reader, item.video)
            sampled = times[item.video]
            if isinstance(sampled, PipelineError):
                detail = f"{item.question.video_id}: {sampled.message}"
                remarks.append(Remark(where=item.question.where, reason=Reason.UNREADABLE_VIDEO, detail=detail))
                continue
            lines = _read_track(item.question, index, sampled, request.storage_options)
            if lines is None:
                where, name = item.question.where, item.question.video_id
                remarks.append(Remark(where=where, reason=Reason.NO_SUBTITLES, detail=name))
            texts[item.question.question_id] = lines or []
    return texts, remarks


def _read_times(reader: TimesReader, uri: str) -> SampledTimes | PipelineError:
    try:
        return reader.read(uri)
    except PipelineError as error:
        return error


def _read_track(
    question: BenchmarkQuestion, index: FileIndex, sampled: SampledTimes, storage_options: StorageOptions
) -> list[Subtitle] | None:
    """The lines of a question's track that its sampled frames show; None when there is no track."""
    track = question.subtitles
    found = None if track is None else index.find(track.names).uri
    if track is None or found is None:
        return None
    with fsspec.open(found, "rb", **(storage_options or {})) as file:
        content = file.read().decode("utf-8-sig", errors="replace")
    try:
        if found.endswith(".srt"):
            return subtitles_for_frames(parse_srt(content), sampled.times_s)
        lines = parse_timed_lines(content, duration_s=sampled.duration_s, starting_s=track.starting_s)
    except ValueError as error:
        raise ValueError(f"subtitles {found} cannot be used ({error}): download them again") from error
    return subtitles_for_frames(lines, sampled.times_s, min_width_s=MIN_WIDTH_S)
