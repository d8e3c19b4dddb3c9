"""One answer in a few lines of plain text, for a terminal."""

from collections.abc import Mapping
from typing import Any

from pipeline.report.cards import shown_answer
from pipeline.results.clock import format_clock
from pipeline.results.query_output import printable
from pipeline.results.summary import DEVICE_STAGES

MAX_SPANS = 5


def describe_answer(row: Mapping[str, Any]) -> str:
    """Answer, confidence, evidence and cost; or what failed and what to do.

    Args:
        row: of the view ``answers``; of its seconds ``total_s`` alone will do.
    """
    if row["status"] != "ok":
        return printable(f"no answer: {row['error_class']}: {row['error_message']}")
    lines = [shown_answer(row) or "", ""]
    sure = f"entropy {row['answer_entropy']:.3g} nats; 0 is certain"
    if row["option_probabilities"]:
        sure = f"{100 * max(row['option_probabilities']):.1f} % ({sure})"
    lines.append(_line("confidence", sure))
    for number, span in enumerate((row["evidence"] or ())[:MAX_SPANS]):
        times = f"{format_clock(span['start_s'])} to {format_clock(span['end_s'])}"
        lines.append(_line("" if number else "evidence", f"{times}  {100 * span['weight']:5.1f} % of the attention"))
    more = len(row["evidence"] or ()) - MAX_SPANS
    lines += [_line("", f"and {more} more")] if more > 0 else []
    if row["num_groups_scored"]:
        early = ", stopped early" if row["stop_reason"] == "confident" else ""
        lines.append(_line("groups", f"{row['num_groups_scored']} of {row['num_groups']} scored{early}"))
    lines.append(_line("tokens", f"{row['num_tokens_kept']:,} kept of {row['num_tokens_offered']:,}"))
    stages = [row[stage] for stage in DEVICE_STAGES if stage in row]
    on_device = f", {sum(stages):.1f} s of them on the device" if stages else ""
    lines.append(_line("cost", f"{row['total_s']:.1f} s{on_device}"))
    lines.append(_line("model", f"{row['model']}, method {row['method']}"))
    lines += [_line("warning", warning) for warning in row["warnings"] or ()]
    return "\n".join(printable(line) for line in lines)


def _line(name: str, text: str) -> str:
    return f"{name:<12}{text}"
