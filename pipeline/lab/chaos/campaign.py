"""Many disturbed runs from one seed, each compared with the undisturbed run of the same job; faults are counted."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

from pipeline.failures import RETRYABLE, FailureClass
from pipeline.lab.chaos.case import ChaosCase
from pipeline.lab.chaos.faults import CELLS, STAGES, Fault, Moment, draw_side_fault
from pipeline.lab.chaos.jobs import draw_job
from pipeline.lab.chaos.worker import BrokenPromiseError
from pipeline.results.fitted_rows import fit_rows
from pipeline.results.rows import VOLATILE_COLUMNS, QuestionResult

_ENOUGH_ATTEMPTS = 1_000  # where no fault may fail a row


@dataclass(kw_only=True, slots=True)
class Campaign:
    """What has struck so far: (label, stage, moment) -> faults; and what became of the rows.

    Attributes:
        num_sharded: cases of several coordinators; ``num_moves``: workers that went on from one to another.
        num_given_up: workers that were silent for too long.
    """

    struck: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    num_cases: int = 0
    num_rows: int = 0
    num_failed_rows: int = 0
    num_sharded: int = 0
    num_moves: int = 0
    num_given_up: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def num_faults(self) -> int:
        """All that struck."""
        return self.struck.total()


def run_campaign(*, num_faults: int, seed: int) -> Campaign:
    """Cases until that many faults have struck; every cell of the table is aimed at in turn."""
    campaign = Campaign()
    while campaign.num_faults < num_faults:
        number = campaign.num_cases
        run_case(campaign, CELLS[number % len(CELLS)], random.Random(f"{seed}/{number}"), name=f"case {number}")
    return campaign


def run_case(campaign: Campaign, cell: Fault, rng: random.Random, *, name: str) -> None:
    """One job, disturbed and not."""
    campaign.num_cases += 1
    job = draw_job(rng, max_attempts=3 if cell.is_poison else _ENOUGH_ATTEMPTS)
    if cell.is_poison:
        skip = 0 if cell.stage in ("probe", "decode", "score") else rng.randint(0, 2)
    else:
        skip = rng.choice([0, 0, 1, 2, 5])
    side = [draw_side_fault(rng, is_harmless=cell.is_poison) for _ in range(rng.choice([0, 2, 4, 8]))]
    pending = [(cell, skip), *((fault, rng.randint(0, 12)) for fault in side)]
    case = ChaosCase(job, rng, pending)
    expected = ChaosCase(replace(job, num_shards=1), random.Random(0)).run()
    try:
        rows = case.run()
        campaign.broken += [f"{name} ({cell}): {text}" for text in _find_differences(case, rows, expected)]
    except BrokenPromiseError as error:
        campaign.broken.append(f"{name} ({cell}): {error}")
        return
    campaign.struck.update((fault.label, fault.stage, fault.moment.value) for fault, _ in case.strikes.struck)
    campaign.num_sharded += job.num_shards > 1
    campaign.num_moves += case.crew.num_moves
    campaign.num_given_up += case.num_given_up
    campaign.num_rows += len(rows)
    campaign.num_failed_rows += sum(row.status == "failed" for row in rows.values())


def _find_differences(
    case: ChaosCase, rows: dict[str, QuestionResult], expected: dict[str, QuestionResult]
) -> Iterator[str]:
    """What is not as it must be."""
    if set(rows) != set(expected):
        yield f"rows {sorted(rows)}, wanted {sorted(expected)}"
        return
    had_memory_fault = any(fault.failure_class is FailureClass.OUT_OF_MEMORY for fault, _ in case.strikes.struck)
    for key, row in sorted(rows.items()):
        may_fail, must_fail = _verdict(case, *map(int, key.removeprefix("v").split("-")))
        is_same = _stable(row, had_memory_fault) == _stable(expected[key], had_memory_fault)
        if row.status == "failed" and expected[key].status == "ok":
            if row.error_class not in may_fail:
                yield f"{key} failed as {row.error_class}: {row.error_message}"
        elif row.status == "ok" and must_fail:
            yield f"{key} is {row.status}, must fail as one of {sorted(may_fail)}"
        elif expected[key].status == "failed" and may_fail:  # it cannot be asked, and its video came to grief as well
            if row.error_class not in {expected[key].error_class, *may_fail}:
                yield f"{key} failed as {row.error_class}, not as {expected[key].error_class}"
        elif not is_same:
            yield f"{key} differs: {row} instead of {expected[key]}"


def _stable(row: QuestionResult, had_memory_fault: bool) -> dict[str, object]:
    volatile = VOLATILE_COLUMNS | ({"memory_rung"} if had_memory_fault else set())
    return {name: value for name, value in asdict(row).items() if name not in volatile}


def _verdict(case: ChaosCase, video_id: int, question: int) -> tuple[set[FailureClass], bool]:
    """Classes as which a question may fail, and whether it must."""
    may_fail: set[FailureClass] = set()
    must_fail = False
    num_asked = len(case.job.tasks[video_id].questions) - len(case.job.check(video_id).refused)
    is_only_one = num_asked <= 1
    for fault, key in case.strikes.struck:
        is_final = fault.failure_class is not None and fault.failure_class not in RETRYABLE
        if fault.is_poison or not is_final or key.video_id != video_id:
            continue
        is_own = fault.stage in ("gather", "answer")
        if (is_own and key.index == question) or (not is_own and (fault.stage != "score" or is_only_one)):
            may_fail.add(fault.failure_class or FailureClass.INTERNAL)
    for fault, (poisoned_video, poisoned_question) in case.strikes.poisoned.items():
        is_videos = fault.stage in ("probe", "decode")
        if poisoned_video == video_id and (is_videos or poisoned_question == question):
            may_fail.add(fault.failure_class or FailureClass.WORKER_LOST)
            must_fail = True
    return may_fail, must_fail


def format_campaign(campaign: Campaign) -> str:
    """Faults by kind and transition, and the verdict."""
    columns = [(stage, moment) for stage in STAGES for moment in Moment]
    heads = [f"{stage[:3]}.{moment.value[:4].strip()}" for stage, moment in columns]
    labels = sorted({label for label, _, _ in campaign.struck})
    rows = [["", *heads, "all"]]
    for label in labels:
        counts = [campaign.struck[label, stage, moment.value] for stage, moment in columns]
        rows.append([label, *(str(count or ".") for count in counts), str(sum(counts))])
    lines = fit_rows(rows, numbers=range(1, len(rows[0])))
    lines.append(
        f"{campaign.num_faults} faults in {campaign.num_cases} runs: {campaign.num_rows} rows, one per question; "
        f"{campaign.num_failed_rows} failed, as they had to"
    )
    lines.append(
        f"{campaign.num_sharded} runs had two or three coordinators, {campaign.num_moves} times a worker went on to "
        f"another one; {campaign.num_given_up} workers were given up for silence"
    )
    lines += [f"BROKEN {text}" for text in campaign.broken]
    lines.append("verdict: " + (f"{len(campaign.broken)} promises broken" if campaign.broken else "every promise kept"))
    return "\n".join(lines)
