"""What a simulation saw, as it ran; ``report`` makes figures of it."""

from dataclasses import dataclass, field

from pipeline.planning.video_plan import VideoPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Totals up to a time.

    Attributes:
        spent_s: role -> worker-seconds busy and worker-seconds there.
        coordinator_s: seconds of service; ``decision_s`` the part that the state machine took.
    """

    time_s: float
    spent_s: dict[str, tuple[float, float]]
    coordinator_s: float
    decision_s: float
    num_calls: int
    num_completions: int
    waited_s: float

    def utilisation(self, role: str, since: "Snapshot | None" = None) -> float | None:
        """Busy share of a role's workers; None where there are none."""
        busy_s, there_s = self.spent_s.get(role, (0.0, 0.0))
        if since is not None:
            before_busy_s, before_there_s = since.spent_s.get(role, (0.0, 0.0))
            busy_s, there_s = busy_s - before_busy_s, there_s - before_there_s
        return busy_s / there_s if there_s > 0 else None


@dataclass(kw_only=True, slots=True, eq=False)
class Observation:
    """Everything counted.

    Attributes:
        start: snapshot at the beginning; ``steady_from`` and ``steady_to`` when 10 % and 90 % of the videos had ended.
        rows_by_question: question id -> rows it got; ``num_failed`` of them are failures.
        groups_scored: by all workers, those of abandoned attempts included; ``groups_useful`` counted for a question.
        latencies_s: per video, from the probe to the last answer.
    """

    plan: VideoPlan
    start: Snapshot
    steady_from: Snapshot | None = None
    steady_to: Snapshot | None = None
    end: Snapshot | None = None
    makespan_s: float = 0.0
    longest_wait_s: float = 0.0
    groups_scored: int = 0
    groups_useful: int = 0
    num_cancelled: int = 0
    num_nodes_lost: int = 0
    num_failed: int = 0
    rows_by_question: dict[str, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
