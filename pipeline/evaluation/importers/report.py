"""What an import says of itself: a few lines for people, and everything as JSON beside the manifest."""

import json
from collections.abc import Sequence

import pyarrow.compute as pc

from pipeline.evaluation.importers.job import Import
from pipeline.evaluation.importers.records import Reason, Remark

_MOST_LISTED = 10


def describe_import(imported: Import) -> str:
    """Counts, then every reason with its first rows; missing videos by name."""
    table = imported.table
    num_videos = pc.count_distinct(table.column("video")).as_py()
    without_truth = table.column("expected").null_count
    lines = [
        f"{imported.benchmark} ({imported.layout}): {table.num_rows:,} questions about {num_videos:,} videos"
        + (f", {without_truth:,} without a known answer" if without_truth else "")
    ]
    for reason, count in imported.counts().items():
        own = [remark for remark in imported.remarks if remark.reason is reason]
        lines.append(f"  {count:,} {'kept' if reason.is_kept else 'left out'}: {reason.value}")
        if reason not in (Reason.NO_TRUTH, Reason.SKIPPED):
            lines += _list_remarks(own)
    return "\n".join(lines)


def import_json(imported: Import) -> bytes:
    """Every remark, and the videos that questions were left out for."""
    report = {
        "benchmark": imported.benchmark,
        "layout": imported.layout,
        "num_questions": imported.table.num_rows,
        "num_left_out": sum(not remark.reason.is_kept for remark in imported.remarks),
        "counts": {reason.value: count for reason, count in imported.counts().items()},
        "missing_videos": imported.unplaced_videos,
        "remarks": [
            {
                "where": remark.where,
                "reason": remark.reason.value,
                "is_kept": remark.reason.is_kept,
                "detail": remark.detail,
            }
            for remark in imported.remarks
        ],
    }
    return (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode()


def _list_remarks(remarks: Sequence[Remark]) -> list[str]:
    """The first few, each detail once."""
    shown = list(dict.fromkeys(f"    {remark.detail or remark.where}" for remark in remarks))
    rest = len(shown) - _MOST_LISTED
    return [*shown[:_MOST_LISTED], *([f"    … and {rest} more"] if rest > 0 else [])]
