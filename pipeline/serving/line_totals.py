"""The head of the page over all lines: the sums of the report, which DuckDB adds up."""

from typing import Any

from pipeline.report.cards import Json
from pipeline.results.demo_warning import DEMO_MODEL_WARNING
from pipeline.results.summary import DEVICE_STAGES, STAGES
from pipeline.serving.answer_lines import AnswerLines

_SETTING = ("method", "model", "config_hash")
_SUMS = {
    "num_videos": "count(DISTINCT video)",
    "num_questions": "count(*)",
    "num_ok": "count(*) FILTER (status = 'ok')",
    "num_failed": "count(*) FILTER (status = 'failed')",
    "num_groups_planned": "coalesce(sum(num_groups), 0)::BIGINT",
    "num_groups_scored": "coalesce(sum(num_groups_scored), 0)::BIGINT",
    "num_groups_wasted": "coalesce(sum(num_groups_wasted), 0)::BIGINT",
    "num_stopped_early": "count(*) FILTER (stop_reason = 'confident')",
    "num_judged": "count(is_right)",
    "num_right": "count(*) FILTER (is_right)",
    "gpu_s": f"coalesce(sum({' + '.join(DEVICE_STAGES)}), 0)::DOUBLE",
    **{stage: f"coalesce(sum({stage}), 0)::DOUBLE" for stage in STAGES},
}


def sum_up(answers: AnswerLines) -> Json:
    """What ``report.totals.describe_totals`` says of all rows, and the notices above it."""
    select, setting = ", ".join(f"{sql} AS {name}" for name, sql in _SUMS.items()), ", ".join(_SETTING)
    with answers.table() as (cursor, lines):
        (whole,) = _records(cursor, f"SELECT {select} FROM {lines}")
        by_setting = _records(
            cursor,
            f"SELECT {setting}, {select} FROM {lines} GROUP BY ALL ORDER BY {setting}",
        )
        failures = _records(
            cursor,
            f"SELECT error_class, count(*) AS number FROM {lines} WHERE error_class IS NOT NULL "
            "GROUP BY ALL ORDER BY error_class",
        )
        by_demo = f"SELECT count(*) FROM {lines} WHERE list_contains(warnings, ?)"
        ((num_warned,),) = cursor.execute(by_demo, [DEMO_MODEL_WARNING]).fetchall()
    totals = _describe(whole) | {
        "failures_by_class": {one["error_class"]: one["number"] for one in failures},
        "methods": [{name: one[name] for name in _SETTING} | _describe(one) for one in by_setting],
        "usd_per_gpu_hour": None,
    }
    notice = f"{num_warned} of {whole['num_questions']} questions: {DEMO_MODEL_WARNING}."
    return {"totals": totals, "notices": [notice] if num_warned else []}


def _describe(sums: Json) -> Json:
    per_answer = sums["gpu_s"] / sums["num_ok"] if sums["num_ok"] else None
    rest = {name: value for name, value in sums.items() if name not in (*STAGES, *_SETTING)}
    stages = {stage: sums[stage] for stage in STAGES}
    return rest | {"stage_seconds": stages, "gpu_seconds_per_question": per_answer, "usd": None}


def _records(cursor: Any, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cursor.sql(sql).to_arrow_table().to_pylist()
    return found
