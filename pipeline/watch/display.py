"""What a person sees of a run: how far it is, a table of answers, what failed."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from pipeline.engine.progress import Progress
from pipeline.manifest.reading import Manifest
from pipeline.results.clock import format_clock as format_clock
from pipeline.results.rows import QuestionResult
from pipeline.uris import strip_secrets
from pipeline.watch.pace import Outlook
from pipeline.watch.progress_line import describe_progress, draw_progress

_REDRAW_INTERVAL_S = 0.1


class ProgressDisplay:
    """One line that is drawn again in place on a terminal; one plain line now and then elsewhere."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        every_s: float = 15.0,
        now_s: Callable[[], float] = time.monotonic,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Show nothing yet.

        Args:
            stream: where to; standard error if not given.
            every_s: seconds between plain lines; 0 writes none.
            now_s: a monotonic clock.
            environment: says with ``NO_COLOR`` that colours are not wanted, with ``TERM=dumb`` that
                nothing can be drawn.
        """
        self._stream, self._every_s, self._now_s = stream or sys.stderr, every_s, now_s
        self._can_redraw = self._stream.isatty() and environment.get("TERM") != "dumb"
        self._is_coloured = self._can_redraw and not environment.get("NO_COLOR")
        self._shown_s = now_s()
        self._last: tuple[Progress, Outlook] | None = None

    def show(self, progress: Progress, outlook: Outlook) -> None:
        """Update; cheap enough to call many times a second."""
        self._last = progress, outlook
        now_s = self._now_s()
        if self._can_redraw and now_s - self._shown_s >= _REDRAW_INTERVAL_S:
            self._draw(progress, outlook)
            self._shown_s = now_s
        elif not self._can_redraw and 0 < self._every_s <= now_s - self._shown_s:
            self._write(f"[{outlook.elapsed_s:5.0f} s] {describe_progress(progress, outlook)}\n")
            self._shown_s = now_s

    def close(self) -> None:
        """Leave the terminal in order, with the last state on it."""
        if self._can_redraw and self._last is not None:
            self._draw(*self._last)
            self._write("\n")

    def _draw(self, progress: Progress, outlook: Outlook) -> None:
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):  # a terminal that does not say
            width = 80
        is_unicode = (self._stream.encoding or "").lower().replace("-", "") == "utf8"
        line = draw_progress(progress, outlook, width=width - 1, is_coloured=self._is_coloured, is_unicode=is_unicode)
        self._write(f"\r{line}\033[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


_COLUMNS = {
    "question": 28,
    "answer": 24,
    "expected": 8,
    "conf.": 5,
    "evidence": 19,
    "groups": 8,
    "tokens": 10,
    "seconds": 7,
}
_LEAST = {"question": 14, "answer": 10, "evidence": 15}
_DISPENSABLE = ("tokens", "seconds", "expected")


def format_answers(rows: Sequence[dict[str, Any]], *, width: int | None = None) -> str:
    """Who answers, then one line per row: question, answer, expected, confidence, evidence, groups, tokens, seconds.

    Args:
        rows: of the view ``answers``.
        width: of the terminal: where it is narrow, tokens and seconds are left out and texts are cut.
    """
    columns = _columns_within(width)
    settings = dict.fromkeys(f"method {row['method']}, model {row['model']}" for row in rows)
    lines = ["; ".join(settings), "", "  ".join(name.ljust(size) for name, size in columns.items())]
    lines.append("  ".join("-" * size for size in columns.values()))
    video = None
    for row in rows:
        if row["video"] != video:
            video = row["video"]
            frames = f", {row['num_sampled_frames']:,} sampled frames" if row["num_sampled_frames"] else ""
            lines.append(f"{str(video).rsplit('/', 1)[-1]}{frames}")
        cells = dict(zip(_COLUMNS, _cells(row), strict=True))
        lines.append("  ".join(_fit(cells[name], size) for name, size in columns.items()))
    return "\n".join(lines)


def _columns_within(width: int | None) -> dict[str, int]:
    """What is dispensable goes first, then texts get shorter, down to `_LEAST`."""
    columns = dict(_COLUMNS)
    for name in _DISPENSABLE:
        if width is not None and sum((columns | _LEAST).values()) + 2 * (len(columns) - 1) > width:
            del columns[name]
    while width is not None and sum(columns.values()) + 2 * (len(columns) - 1) > width:
        spare = {name: columns[name] - least for name, least in _LEAST.items() if columns[name] > least}
        if not spare:
            break
        columns[max(spare, key=spare.__getitem__)] -= 1
    return columns


def _cells(row: dict[str, Any]) -> list[str]:
    if row["status"] != "ok":
        return [row["question"], f"failed: {row['error_class']}", "", "", "", "", "", ""]
    answer, probabilities, options = row["answer"], row["option_probabilities"], row["options"]
    if options:
        answer = f"{answer}. {options[ord(answer) - ord('A')]}"
    confidence = f"{max(probabilities):.2f}" if probabilities else f"H {row['answer_entropy']:.1f}"
    top = row["evidence"][0] if row["evidence"] else None
    scored = f"{row['num_groups_scored']}/{row['num_groups']}"
    return [
        row["question"],
        answer,
        str(row.get("expected") or ""),
        confidence,
        f"{format_clock(top['start_s'])}-{format_clock(top['end_s'])}" if top else "",
        scored,
        f"{row['num_tokens_kept']}/{row['num_tokens_offered']}",
        f"{row['total_s']:.1f}",
    ]


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"


def describe_summary(summary: dict[str, Any], *, output: str) -> str:
    """A few lines on what a run did, for people."""
    counts = f"{summary['num_ok']} answered, {summary['num_failed']} failed, {summary['num_skipped']} done earlier"
    groups = f"{summary['num_groups_scored']} of {summary['num_groups_planned']} question-groups scored"
    lines = [f"{counts} in {summary['wall_s']:.0f} s; {groups}; method {summary['method']}, model {summary['model']}"]
    lines.append(f"answers: {output}/answers/  run: {output}/runs/{summary['run_id']}/")
    return "\n".join(lines)


def format_failures(failures: Sequence[Mapping[str, object]], *, num_failed: int) -> str:
    """One line per failed question, with what to do; of those that are not given only how many there are."""
    lines = [f"  {row['question_id']}: {row['error_class']}: {row['error_message']}" for row in failures]
    if num_failed > len(failures):
        lines.append(
            f"  … and {num_failed - len(failures)} more: see the view `failures`, or status and error_class in the rows"
        )
    return "\n".join(lines)


def describe_commit(rows: Sequence[QuestionResult]) -> str:
    """``video s3://b/v000.mp4: 4 ok, 0 failed; 157 of 157 groups scored; attempt 1``, with the classes of failures."""
    failed = Counter(str(row.error_class) for row in rows if row.error_class is not None)
    groups = f"{max(row.num_groups_scored or 0 for row in rows)} of {max(row.num_groups or 0 for row in rows)}"
    classes = f" ({', '.join(f'{count} {name}' for name, count in sorted(failed.items()))})" if failed else ""
    counts = f"{len(rows) - failed.total()} ok, {failed.total()} failed{classes}"
    video, attempt = strip_secrets(rows[0].video), max(row.attempts for row in rows)
    return f"video {video}: {counts}; {groups} groups scored; attempt {attempt}"


def order_as_manifest(rows: Sequence[dict[str, Any]], manifest: Manifest, *, config_hash: str) -> list[dict[str, Any]]:
    """The rows of one configuration, from this run or an earlier one, in manifest order."""
    order = manifest.row_indices()
    own = [row for row in rows if row["config_hash"] == config_hash]
    return sorted(own, key=lambda row: order.get(row["question_id"], -1))
