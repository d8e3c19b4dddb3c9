"""The examination as a page of Markdown that can be sent on. It holds no paths but the model's name as it was given."""

from datetime import datetime

from pipeline.doctor.checks import Examination
from pipeline.results.tables import pipe_rows
from pipeline.uris import strip_secrets


def to_card(found: Examination, *, written_at: datetime, version: str) -> str:
    """Verdict, checks, then facts.

    Args:
        found: the examination.
        written_at: UTC.
        version: of this project.
    """
    failed = [check.name for check in found.checks if check.verdict == "failed"]
    verdict = f"**Failed:** {', '.join(failed)}." if failed else "**All checks passed.**"
    rows = [(check.verdict.value, check.name, _cell(check.found), _cell(check.remedy)) for check in found.checks]
    lines = [
        f"# {_cell(strip_secrets(found.model))}",
        "",
        f"adapttoken doctor, {version}, {written_at:%Y-%m-%d %H:%M} UTC. {verdict}",
        "",
        *pipe_rows(rows, header=("verdict", "check", "found", "remedy")),
    ]
    for heading, facts in found.facts.items():
        cells = [(_cell(name), _cell(value)) for name, value in facts]
        lines += ["", f"## {heading}", "", *pipe_rows(cells, header=("what", "found"))]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
