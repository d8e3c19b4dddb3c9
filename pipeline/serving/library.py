"""What the page can open: answers of an output folder and those given here, their pictures and files, and videos."""

import logging
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.failures import FailureClass, PipelineError
from pipeline.report.cards import frame
from pipeline.report.pictures import PictureBudget
from pipeline.report.report import Card, ReportOptions, make_card
from pipeline.report.thumbnails import ThumbnailMaker
from pipeline.report.totals import read_run_files
from pipeline.report.video_links import LinkOptions, link_videos
from pipeline.serving.answer_lines import AnswerLines, LineQuery
from pipeline.serving.line_totals import sum_up
from pipeline.settings.sources import ReadingConfig
from pipeline.uris import StorageOptions, strip_secrets
from pipeline.video.sources import local_video

Json = dict[str, Any]

LOOK_EVERY_S = 10.0
"""Seconds after which a page looks again whether something was committed."""
_MOST_VIDEOS = 200
_NO_PICTURE = "its picture is being read …"
_LOG = logging.getLogger("adapttoken.serve")


class Library:
    """Methods may be called from several threads; ``close`` ends its own."""

    def __init__(
        self,
        lines: AnswerLines,
        videos: Sequence[str],
        *,
        output_uri: str | None,
        run: Json,
        reading: ReadingConfig,
        are_files_shown: bool = True,
        storage_options: StorageOptions = None,
    ) -> None:
        """Read nothing yet.

        Args:
            lines: of the answers.
            videos: that can be asked about besides those of the answers.
            output_uri: folder of all results, where pictures are kept, too; None: for as long as this lives.
            run: what the answers given here share: ``run_id`` and ``stop_entropy``.
            reading: limits for reading videos.
            are_files_shown: whether files of this machine can be played.
            storage_options: for the folder and the videos.
        """
        self._lines, self._output_uri, self._reading = lines, output_uri, reading
        self._videos = {strip_secrets(uri): uri for uri in videos}
        self._links, self._storage_options = LinkOptions(are_files_linked=are_files_shown), storage_options
        self._runs: dict[str, Json] = {run["run_id"]: run}
        self._pictures_folder = tempfile.TemporaryDirectory(prefix="adapttoken-pictures-")
        self._painter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
        self._maker: ThumbnailMaker | None = None
        self._lock, self._state, self._looked_s = threading.Lock(), lines.describe_state(), time.monotonic()
        self._head: Json | None = None

    def close(self) -> None:
        """End the decoding process and remove what was kept."""
        self._painter.shutdown(wait=True, cancel_futures=True)
        if self._maker is not None:
            self._maker.close()
        self._lines.close()
        self._pictures_folder.cleanup()

    def describe(self) -> Json:
        """The head of the page."""
        head = self._head
        if head is None:
            known = [uri for uri in self._lines.videos(limit=_MOST_VIDEOS) if uri not in self._videos]
            head = sum_up(self._lines) | {
                "output": None if self._output_uri is None else strip_secrets(self._output_uri),
                "runs": [],
                "videos": [*self._videos, *known][: max(_MOST_VIDEOS, len(self._videos))],
            }
            self._head = head
        return head

    def page(self, query: LineQuery) -> Json:
        """Lines of one page; what has been committed since the last look is in a later one."""
        if query.page == 0:
            self._look_again()
        return self._lines.page(query)

    def add(self, row: pa.Table) -> Json:
        """An answer that was given here; returns its line."""
        entry = self._lines.add(row)
        self._head = None
        return entry

    def uri_of(self, name: str) -> str | None:
        """The address of a video that can be asked about, by the name that the page knows it by."""
        if name in self._videos:
            return self._videos[name]
        return name if self._lines.has_video(name) else None

    def answer(self, key: str) -> Json | None:
        """Line and details of one answer; its pictures are not there yet."""
        card = self._card(key)
        if card is None:
            return None
        is_played = bool(link_videos([card.video], self._links))
        more = {
            "frames": [frame(moment, None, _NO_PICTURE) for moment in card.moments],
            "video_url": f"api/answers/{key}/video" if is_played else None,
        }
        return {"entry": card.entry, "detail": card.detail | more}

    def frames(self, key: str) -> "Future[list[Json] | None]":
        """The pictures of an answer, one answer after the other."""
        return self._painter.submit(self._paint, key)

    def video_file(self, key: str) -> Path | None:
        """The file that an answer is about, as long as it is the same one.

        Raises:
            PipelineError: It is another one by now, no file of this machine, or not to be shown.
        """
        card = self._card(key)
        if card is None:
            return None
        if not link_videos([card.video], self._links):
            raise PipelineError(FailureClass.NOT_FOUND, "the video is not shown here, or is not the one of the answer")
        with local_video(card.video[0], reading=self._reading) as path:  # a video by its content, too
            return Path(path)

    def _card(self, key: str) -> Card | None:
        row = self._lines.row(key)
        if row is None:
            return None
        run = self._run(row.column("run_id")[0].as_py())
        return make_card(row, 0, [run], ReportOptions(reading=self._reading))

    def _run(self, run_id: str) -> Json:
        if run_id not in self._runs:
            assert self._output_uri is not None
            (self._runs[run_id],) = read_run_files(self._output_uri, [run_id], storage_options=self._storage_options)
        return self._runs[run_id]

    def _paint(self, key: str) -> list[Json] | None:
        """In the one thread that decodes pictures."""
        card = self._card(key)
        if card is None:
            return None
        if self._maker is None:
            place = self._output_uri or self._pictures_folder.name
            self._maker = ThumbnailMaker(place, reading=self._reading, storage_options=self._storage_options)
        thumbnails = self._maker.make(*card.video, {moment.start_s for moment in card.moments})
        return PictureBudget(ReportOptions().max_image_bytes).frames(card.moments, thumbnails)

    def _look_again(self) -> None:
        """Read the folder anew where something was committed; one thread does, the others show what is known."""
        if time.monotonic() - self._looked_s < LOOK_EVERY_S or not self._lock.acquire(blocking=False):
            return
        try:
            self._looked_s = time.monotonic()
            state = self._lines.describe_state()
            if state != self._state:
                _LOG.info("the folder has changed: its answers are read again")
                self._lines.read_again()
                self._state, self._head = state, None
        finally:
            self._lock.release()
