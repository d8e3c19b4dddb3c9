"""Figures of one simulated run, the bounds they are held against, and the table."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from pipeline.engine.messages.keys import Role
from pipeline.lab.simulation.records import Observation, Snapshot
from pipeline.lab.simulation.settings import SimulationSettings
from pipeline.planning.video_plan import VideoPlan
from pipeline.results.tables import pipe_rows

_HEADER = (
    *("method", "k", "GPUs", "coordinators", "cores/GPU", "videos", "in hand", "utilisation", "steady"),
    *("decoders busy", "wasted groups", "video p50, p95 s", "makespan / bound", "calls/s", "coordinator busy"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationReport:
    """One run. ``settings`` are the values of ``SimulationSettings`` that were run.

    Attributes:
        scorer_utilisation: busy share of scorer seconds until the last question ended; ``steady`` ones from 10 % to
            90 % of the videos.
        wasted_groups_share: scored groups that counted for no question, of all that were scored.
        video_latency_s: mean, median and 95th percentile, from a video's probe to its last answer.
        bound_s: no schedule can end earlier: GPU work, decoding work, or one video's critical path.
        num_coordinators: that shared the videos.
        coordinator_busy: share of the steady state, of each; ``coordinator_decisions`` the state machine's part of it.
        coordinator_wait_s: mean time a call waited for its turn, and the longest.
        coordinator_full_at_gpus: busy scorers that would fill the time of one, by proportion; None where it is free.
    """

    settings: dict[str, object]
    num_scorers: int
    num_answerers: int
    num_decoders: int
    num_coordinators: int = 1
    makespan_s: float
    bound_s: float
    critical_path_s: float
    scorer_utilisation: float
    scorer_utilisation_steady: float
    decoder_utilisation: float
    decoder_utilisation_steady: float
    answerer_utilisation: float | None
    groups_scored: int
    wasted_groups_share: float
    video_latency_s: tuple[float, float, float]
    calls_per_s: float
    completions_per_s: float
    decision_s_per_group: float
    coordinator_busy: float
    coordinator_decisions: float
    coordinator_wait_s: tuple[float, float]
    coordinator_full_at_gpus: float | None
    num_nodes_lost: int
    num_cancelled: int
    num_questions: int
    num_failed: int
    wall_s: float

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def critical_path_s(settings: SimulationSettings, plan: VideoPlan) -> float:
    """The least time for one video: probe, its passes one by one, rounds of groups, one gather and one final pass.

    A pass is divided evenly among the decoders, its longest stretch at least; rounds are ``ceil(groups / scorers)``.
    """
    times, num_scorers = settings.times, settings.num_scorers
    probe_s = times.probe_s + plan.probe.num_frames * times.demux_frame_s
    decode_s = 0.0
    for decode_pass in plan.passes:
        stretches_s = [
            stretch.num_frames_to_decode * times.decode_frame_s + len(stretch.frame_indices) * times.wanted_frame_s
            for stretch in decode_pass.stretches
        ]
        decode_s += max(sum(stretches_s) / settings.num_decoders, max(stretches_s))
    rounds = math.ceil(len(plan.groups) / num_scorers)
    answer_rounds = math.ceil(settings.num_questions / settings.num_gpus)
    answer_s = times.gather_s + answer_rounds * times.answer_s
    return probe_s + decode_s + rounds * settings.group_s + answer_s


def bound_s(settings: SimulationSettings, plan: VideoPlan, seen: Observation) -> float:
    """The most of: GPU work that was useful over all GPUs, all of the decoders' work that was done, one video's path.

    Where questions stop early, only what counted is bound to be done.
    """
    assert seen.end is not None
    answer_s = settings.num_videos * settings.num_questions * settings.times.answer_s
    gpu_s = (seen.groups_useful * settings.group_s + answer_s) / settings.num_gpus
    is_whole = seen.groups_useful == settings.num_videos * len(plan.groups)
    path_s = critical_path_s(settings, plan) if is_whole else 0.0
    decoder_s = seen.end.spent_s[Role.DECODER][0] / settings.num_decoders if is_whole else 0.0
    return max(gpu_s, decoder_s, path_s)


def summarize_run(settings: SimulationSettings, seen: Observation, *, wall_s: float) -> SimulationReport:
    """Figures of a run that has ended; a run too short for a steady state is taken whole."""
    end = seen.end
    assert end is not None
    steady_from, steady_to = seen.steady_from or seen.start, seen.steady_to or end
    if steady_to.time_s <= steady_from.time_s:
        steady_from, steady_to = seen.start, end
    steady_s = steady_to.time_s - steady_from.time_s
    num_coordinators = settings.num_shards
    busy = (steady_to.coordinator_s - steady_from.coordinator_s) / steady_s / num_coordinators
    utilisation = _utilisation(steady_to, Role.SCORER, steady_from)
    latencies = np.array(seen.latencies_s)
    return SimulationReport(
        settings=asdict(settings),
        num_scorers=settings.num_scorers,
        num_answerers=settings.num_answerers,
        num_decoders=settings.num_decoders,
        num_coordinators=num_coordinators,
        makespan_s=seen.makespan_s,
        bound_s=bound_s(settings, seen.plan, seen),
        critical_path_s=critical_path_s(settings, seen.plan),
        scorer_utilisation=_utilisation(end, Role.SCORER),
        scorer_utilisation_steady=utilisation,
        decoder_utilisation=_utilisation(end, Role.DECODER),
        decoder_utilisation_steady=_utilisation(steady_to, Role.DECODER, steady_from),
        answerer_utilisation=end.utilisation(Role.ANSWERER),
        groups_scored=seen.groups_scored,
        wasted_groups_share=1 - seen.groups_useful / seen.groups_scored if seen.groups_scored else 0.0,
        video_latency_s=(
            float(latencies.mean()),
            float(np.percentile(latencies, 50)),
            float(np.percentile(latencies, 95)),
        ),
        calls_per_s=(steady_to.num_calls - steady_from.num_calls) / steady_s,
        completions_per_s=(steady_to.num_completions - steady_from.num_completions) / steady_s,
        decision_s_per_group=end.decision_s / max(1, seen.groups_scored),
        coordinator_busy=busy,
        coordinator_decisions=(steady_to.decision_s - steady_from.decision_s) / steady_s / num_coordinators,
        coordinator_wait_s=(end.waited_s / max(1, end.num_calls), seen.longest_wait_s),
        coordinator_full_at_gpus=settings.num_scorers / num_coordinators * utilisation / busy if busy else None,
        num_nodes_lost=seen.num_nodes_lost,
        num_cancelled=seen.num_cancelled,
        num_questions=len(seen.rows_by_question),
        num_failed=seen.num_failed,
        wall_s=wall_s,
    )


def _utilisation(until: Snapshot, role: str, since: Snapshot | None = None) -> float:
    share = until.utilisation(role, since)
    return 0.0 if share is None else share


def markdown_table(reports: Sequence[SimulationReport]) -> str:
    """One row per run."""
    return "\n".join(pipe_rows([_cells(report) for report in reports], header=_HEADER)) + "\n"


def _cells(report: SimulationReport) -> tuple[str, ...]:
    settings = report.settings
    _, median_s, late_s = report.video_latency_s
    return (
        str(settings["method"]),
        str(settings["frames_decoded_per_wanted"]),
        f"{settings['num_gpus']:,}",
        str(report.num_coordinators),
        f"{settings['decode_cores_per_gpu']:g}",
        f"{settings['num_videos']:,}",
        str(settings["groups_in_hand"]),
        f"{report.scorer_utilisation:.1%}",
        f"{report.scorer_utilisation_steady:.1%}",
        f"{report.decoder_utilisation_steady:.0%}",
        f"{report.wasted_groups_share:.1%}",
        f"{median_s:,.1f}, {late_s:,.1f}",
        f"{report.makespan_s:,.1f} / {report.bound_s:,.1f} s = {report.makespan_s / report.bound_s:.2f}",
        f"{report.calls_per_s:,.0f}",
        f"{report.coordinator_busy:.0%}",
    )
