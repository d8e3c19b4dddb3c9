"""From an output folder to the report page: which rows, what is said about them, and their pictures."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.counted import counted
from pipeline.method.selectors.registry import can_stop_early
from pipeline.report.cards import Json, detail, list_entry
from pipeline.report.evidence_frames import EvidencePatch, choose_frames, read_patches
from pipeline.report.page import assemble_page
from pipeline.report.pictures import NoteProgress, PictureBudget, Video, read_pictures
from pipeline.report.totals import describe_totals, read_run_files
from pipeline.report.video_links import LinkOptions, link_videos, media_sources
from pipeline.results.demo_warning import DEMO_MODEL_WARNING, count_demo_warnings
from pipeline.results.finished import read_answers
from pipeline.settings.sources import ReadingConfig
from pipeline.uris import StorageOptions, strip_secrets

_SHOWN_RUNS = 5


_LONG_COLUMNS = ["kept_tokens", "groups", "evidence"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportOptions:
    """What the page holds.

    Attributes:
        run_id: only rows that this run wrote; None takes those that count.
        question_ids: only these; None takes all.
        config_hash: only answers of these settings; None takes all.
        limit: at most so many questions.
        num_thumbnails: pictures per question.
        max_image_bytes: of all pictures together, as encoded.
        usd_per_gpu_hour: for costs in dollars; None leaves them out.
        num_readers: videos that are read at a time.
        links: which videos the page may play.
        reading: limits for reading videos.
    """

    run_id: str | None = None
    question_ids: Collection[str] | None = None
    config_hash: str | None = None
    limit: int | None = None
    num_thumbnails: int = 4
    max_image_bytes: int = 48 * 1024**2
    usd_per_gpu_hour: float | None = None
    num_readers: int = min(8, os.cpu_count() or 1)
    links: LinkOptions = field(default_factory=LinkOptions)
    reading: ReadingConfig = field(default_factory=ReadingConfig)

    def __post_init__(self) -> None:
        for name, least in (("num_thumbnails", 0), ("max_image_bytes", 0), ("limit", 1), ("num_readers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One question: its line, its details, and the moments whose pictures are wanted."""

    video: Video
    entry: Json
    detail: Json
    moments: Sequence[EvidencePatch]


def make_report(
    output_uri: str,
    options: ReportOptions,
    *,
    storage_options: StorageOptions = None,
    note_progress: NoteProgress = lambda done, total: None,
) -> bytes:
    """The page, as UTF-8.

    Args:
        output_uri: folder of all results.
        options: what the page holds.
        storage_options: for ``output_uri`` and the videos on ``s3://``.
        note_progress: told how many videos have been looked at for pictures, and of how many.

    Raises:
        ValueError: No row matches, or a result file is not readable.
        OSError: The folder cannot be read.
    """
    # 1. rows (output folder → R questions)
    answers = select_rows(read_answers(output_uri, storage_options=storage_options), options, output_uri)
    runs = read_run_files(output_uri, answers.column("run_id").to_pylist(), storage_options=storage_options)
    # 2. what is said (1 question → a line, details, at most num_thumbnails moments)
    cards = [make_card(answers, index, runs, options) for index in range(answers.num_rows)]
    # 3. pictures (1 video → those of all its questions)
    wanted: dict[Video, set[float]] = {}
    for card in cards:
        if card.moments:
            wanted.setdefault(card.video, set()).update(moment.start_s for moment in card.moments)
    pictures = read_pictures(
        output_uri,
        wanted,
        num_readers=options.num_readers,
        reading=options.reading,
        storage_options=storage_options,
        note_progress=note_progress,
    )
    # 4. page (1 video → at most one address)
    addresses = link_videos([card.video for card in cards], options.links, storage_options=storage_options)
    entries, budget = [card.entry for card in cards], PictureBudget(options.max_image_bytes)
    head = {
        "output": strip_secrets(output_uri),
        "run_id": options.run_id,
        "totals": describe_totals(
            answers.drop_columns(_LONG_COLUMNS), entries, usd_per_gpu_hour=options.usd_per_gpu_hour
        ),
        "runs": runs,
        "notices": _notices(answers),
        "entries": entries,
    }
    details = (
        card.detail
        | {"frames": budget.frames(card.moments, pictures.get(card.video)), "video_url": addresses.get(card.video)}
        for card in cards
    )
    sources = media_sources(addresses.values())
    title = _title(output_uri, options)
    return "".join(assemble_page(title=title, head=head, details=details, media_sources=sources)).encode()


def make_card(answers: pa.Table, index: int, runs: Sequence[Json], options: ReportOptions) -> Card:
    """One row at a time becomes Python objects: a row of thousands of tokens takes a megabyte of them."""
    (row,) = answers.slice(index, 1).drop_columns(["kept_tokens"]).to_pylist()
    tokens = answers.column("kept_tokens")[index].values
    patches = read_patches(row, tokens)
    chosen = choose_frames(patches, row["evidence"] or (), limit=options.num_thumbnails)
    can_stop = can_stop_early(row["method"])
    stop_entropy = next((run["stop_entropy"] for run in runs if run["run_id"] == row["run_id"] and can_stop), None)
    return Card(
        video=(row["video"], row["video_fingerprint"]),
        entry=list_entry(row),
        detail=detail(row, patches, stop_entropy=stop_entropy),
        moments=[patches.at(patch) for patch in chosen],
    )


def select_rows(answers: pa.Table, options: ReportOptions, output_uri: str) -> pa.Table:
    """The rows of the page, those of a video together.

    Raises:
        ValueError: There are none; says what there is.
    """
    found = answers
    for column, value in (("run_id", options.run_id), ("config_hash", options.config_hash)):
        if value is not None:
            found = found.filter(pc.equal(found.column(column), value))
    if options.question_ids is not None:
        found = found.filter(pc.is_in(found.column("question_id"), pa.array(list(options.question_ids), pa.string())))
    if not found.num_rows:
        raise ValueError(_describe_nothing(answers, options, strip_secrets(output_uri)))
    order = sorted(range(found.num_rows), key=[video or "" for video in found.column("video").to_pylist()].__getitem__)
    return found.take(pa.array(order[: options.limit]))


def _notices(answers: pa.Table) -> list[str]:
    """What a reader must know before believing any of it."""
    num_warned = count_demo_warnings(answers.column("warnings").to_pylist())
    return [f"{num_warned} of {counted(answers.num_rows, 'question')}: {DEMO_MODEL_WARNING}."] if num_warned else []


def _describe_nothing(answers: pa.Table, options: ReportOptions, place: str) -> str:
    if not answers.num_rows:
        return f"{place} holds no answers: name the --output of a run that has answered something"
    runs = sorted(set(answers.column("run_id").to_pylist()))
    wanted = f"run {options.run_id!r}" if options.run_id else f"the questions {sorted(options.question_ids or ())}"
    return f"{place} holds {answers.num_rows} answers, none of {wanted}; its last runs are {runs[-_SHOWN_RUNS:]}"


def _title(output_uri: str, options: ReportOptions) -> str:
    folder = strip_secrets(output_uri).rstrip("/").rpartition("/")[2]
    return f"Answers of {options.run_id or folder or 'this folder'}"
