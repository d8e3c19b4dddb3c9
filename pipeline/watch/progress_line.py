"""How far a run is, in one line: for a log, or as wide as a terminal is."""

from pipeline.engine.progress import Progress
from pipeline.results.clock import format_clock
from pipeline.watch.pace import Outlook

_MAX_BAR = 24
_MIN_BAR = 6
_WIDE = 60  # columns from which on there is room for a bar
_GREEN, _RED, _DIM, _PLAIN = "\033[32m", "\033[31m", "\033[2m", "\033[0m"


def describe_progress(progress: Progress, outlook: Outlook) -> str:
    """``videos 1/3, questions 4/12, groups 160/300, 2 stopped early, 8 scorers 87% busy, ETA 0:12:30``."""
    parts = [
        f"videos {progress.num_videos_done}/{progress.num_videos}",
        f"questions {progress.num_questions_done}/{progress.num_questions}",
        *([f"{progress.num_questions_failed} failed"] if progress.num_questions_failed else []),
        f"groups {progress.num_groups_scored}/{progress.num_groups_planned}",
        *([f"{progress.num_questions_stopped} stopped early"] if progress.num_questions_stopped else []),
        _describe_scorers(progress, outlook),
        _describe_eta(outlook),
    ]
    return ", ".join(parts)


def draw_progress(
    progress: Progress, outlook: Outlook, *, width: int, is_coloured: bool = False, is_unicode: bool = True
) -> str:
    """A bar and the same counts; what matters least is left out first where the terminal is narrow.

    Args:
        progress: counts.
        outlook: of the same moment.
        width: columns that may be used.
        is_coloured: whether escape sequences for colours are wanted; they take no columns.
        is_unicode: whether the terminal shows more than ASCII.
    """
    failed = f"{progress.num_questions_failed} failed" if progress.num_questions_failed else ""
    done = f"{progress.num_questions_done}/{progress.num_questions}"
    ranked = [  # in the order of the line: how much it matters (0 most), text
        (0, f"{_percent(progress):3d}%"),
        (1, f"{done} questions"),
        (3, failed),
        (5, f"{progress.num_videos_done}/{progress.num_videos} videos"),
        (6, f"{progress.num_groups_scored}/{progress.num_groups_planned} groups"),
        (7, f"{progress.num_questions_stopped} stopped early" if progress.num_questions_stopped else ""),
        (4, _describe_scorers(progress, outlook)),
        (2, _describe_eta(outlook)),
    ]
    shown = [(rank, text) for rank, text in ranked if text]
    most = width - _MIN_BAR - 1 if width >= _WIDE else width
    while len(shown) > 1 and _columns(shown) > most:
        shown.remove(max(shown))
    room = min(_MAX_BAR, width - _columns(shown) - 1)
    texts = [f"{_RED}{text}{_PLAIN}" if is_coloured and text == failed else text for _, text in shown]
    line = "  ".join(texts)[: None if is_coloured else max(0, width)]
    if room < _MIN_BAR:
        return line
    return f"{_draw_bar(_share(progress), room, is_coloured=is_coloured, is_unicode=is_unicode)} {line}"


def _columns(shown: list[tuple[int, str]]) -> int:
    return len("  ".join(text for _, text in shown))


def _percent(progress: Progress) -> int:
    """100 only when all is done."""
    is_done = progress.num_questions_done == progress.num_questions
    return 100 if is_done else min(99, int(100 * _share(progress)))


def _share(progress: Progress) -> float:
    """Questions done, and what is scored of the others."""
    return (progress.num_questions_done + progress.open_share) / max(1, progress.num_questions)


def _draw_bar(share: float, width: int, *, is_coloured: bool, is_unicode: bool) -> str:
    full, empty = ("█", "░") if is_unicode else ("#", ".")
    num_full = int(share * width)
    done, left = full * num_full, empty * (width - num_full)
    return f"{_GREEN}{done}{_DIM}{left}{_PLAIN}" if is_coloured else done + left


def _describe_scorers(progress: Progress, outlook: Outlook) -> str:
    """Of the processes that own the model; on a machine with GPUs this is how busy the GPUs are."""
    num_processes = progress.num_scorers + progress.num_answerers
    if not num_processes:
        return "waiting for scorers"
    noun = "scorer" if num_processes == 1 else "scorers"
    busy = "" if outlook.busy_share is None else f" {100 * outlook.busy_share:.0f}% busy"
    return f"{num_processes} {noun}{busy}"


def _describe_eta(outlook: Outlook) -> str:
    return "ETA ?" if outlook.eta_s is None else f"ETA {format_clock(outlook.eta_s)}"
