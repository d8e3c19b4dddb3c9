"""Simulate a job of any size: the real scheduling policy, a simulated clock. One JSON file per run; finished ones stay.

Example: ``python jobs/lab/simulate.py --gpus 1,8,64 --videos 1000 --output simulations --plot simulation.png``
"""

import argparse
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline.lab.simulation.settings import GIB, CoordinatorTimes, SimulationSettings, StageTimes
from pipeline.method.selectors.registry import SELECTORS, get_selector

if TYPE_CHECKING:
    from pipeline.lab.simulation.report import SimulationReport

Number = TypeVar("Number", int, float)


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, then write the table and the plot of all runs in the folder."""
    parser = _build_parser()
    options = parser.parse_args(arguments)
    try:
        runs = list(_settings(options))
    except ValueError as error:
        parser.error(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    for settings in runs:
        report = _run(settings, options.output)
        print(json.dumps(_headline(report)), flush=True)
    reports = [_load(path) for path in sorted(options.output.glob("run-*.json"))]
    reports.sort(key=lambda report: [str(report.settings["method"]), *map(float, _sizes(report))])
    if options.markdown:
        from pipeline.lab.simulation.report import markdown_table

        options.markdown.write_text(markdown_table(reports))
    if options.plot:
        from pipeline.lab.simulation.plot import draw_plot

        draw_plot(reports, options.plot)
    return 0


def _build_parser() -> argparse.ArgumentParser:
    """Options; lists are tried in all combinations, but for ``--videos`` and ``--groups-in-hand``."""
    plain = SimulationSettings()
    parser = argparse.ArgumentParser(prog="simulate.py", description=__doc__)
    parser.add_argument("--gpus", type=_list_of(int), default=[1, 8, 64, 256, 1_000])
    parser.add_argument("--videos", type=_list_of(int), default=[1_000], help="one number, or one per number of GPUs")
    parser.add_argument("--groups-in-hand", type=_list_of(int), default=[3], help="one, or one per number of GPUs")
    parser.add_argument("--frames", type=int, default=plain.num_frames, help="sampled frames per video")
    parser.add_argument("--questions", type=int, default=plain.num_questions, help="per video")
    parser.add_argument("--method", choices=sorted(SELECTORS), default=plain.method)
    parser.add_argument("--mean-stop-groups", type=float, default=plain.mean_stop_groups, help="of adapttoken-lite")
    parser.add_argument("--decode-cores-per-gpu", type=_list_of(float), default=[plain.decode_cores_per_gpu])
    parser.add_argument("--frames-decoded-per-wanted", type=_list_of(int), default=[10], help="k")
    parser.add_argument("--coordinators", type=int, help="each with its part of the videos; default: as jobs choose it")
    parser.add_argument("--answerers", type=int, help="GPUs for final passes only; default: as a job plans them")
    parser.add_argument("--gpus-per-node", type=int, default=plain.gpus_per_node)
    parser.add_argument("--stretches", type=int, help="pieces per decode pass; default: as jobs cut it")
    parser.add_argument("--frame-buffer-gib-per-gpu", type=float, default=plain.frame_buffer_bytes_per_gpu / GIB)
    parser.add_argument("--stragglers", type=float, default=plain.times.spread, help="spread of log durations")
    parser.add_argument("--node-loss-per-hour", type=float, default=0.0, help="of each node")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="folder: one JSON file per run")
    parser.add_argument("--markdown", type=Path, help="table of all runs in the folder")
    parser.add_argument("--plot", type=Path, help="PNG of all runs in the folder")
    for name, section in (("times", StageTimes()), ("coordinator", CoordinatorTimes())):
        for item in fields(section):
            option = f"--{name}-{item.name.replace('_', '-')}"
            if item.name != "spread":
                parser.add_argument(option, type=float, default=getattr(section, item.name), help="seconds")
    return parser


def _list_of(convert: Callable[[str], Number]) -> Callable[[str], list[Number]]:
    """``"1,8,64" -> [1, 8, 64]``."""

    def numbers(text: str) -> list[Number]:
        return [convert(part) for part in text.split(",")]

    return numbers


def _settings(options: argparse.Namespace) -> Iterator[SimulationSettings]:
    """One per combination."""
    times = {item.name: getattr(options, f"times_{item.name}", options.stragglers) for item in fields(StageTimes)}
    costs = {item.name: getattr(options, f"coordinator_{item.name}") for item in fields(CoordinatorTimes)}
    common = SimulationSettings(
        method=options.method,
        num_frames=options.frames,
        num_questions=options.questions,
        gpus_per_node=options.gpus_per_node,
        num_coordinators=options.coordinators,
        num_stretches=options.stretches,
        frame_buffer_bytes_per_gpu=round(options.frame_buffer_gib_per_gpu * GIB),
        node_losses_per_hour=options.node_loss_per_hour,
        mean_stop_groups=options.mean_stop_groups,
        seed=options.seed,
        times=StageTimes(**times),
        coordinator=CoordinatorTimes(**costs),
    )
    sizes = zip(
        options.gpus,
        _one_each("--videos", options.videos, options.gpus),
        _one_each("--groups-in-hand", options.groups_in_hand, options.gpus),
        strict=True,
    )
    decoding = itertools.product(options.frames_decoded_per_wanted, options.decode_cores_per_gpu)
    for (num_gpus, num_videos, in_hand), (k, cores) in itertools.product(sizes, decoding):
        settings = replace(
            common,
            num_gpus=num_gpus,
            num_videos=num_videos,
            groups_in_hand=in_hand,
            frames_decoded_per_wanted=k,
            decode_cores_per_gpu=cores,
        )
        num_answerers = _plan_answerers(settings) if options.answerers is None else options.answerers
        yield replace(settings, num_answerers=num_answerers)


def _plan_answerers(settings: SimulationSettings) -> int:
    """As a job does it, before it has read a video."""
    from cluster.answering_share import assign_answerers, expect_workload
    from pipeline.lab.simulation.archive import LAYOUT

    config = settings.run_config()
    workload = expect_workload(
        num_videos=settings.num_videos,
        num_questions=settings.num_videos * settings.num_questions,
        config=config,
        layout=LAYOUT,
        selector=get_selector(settings.method),
    )
    return assign_answerers(replace(config.execution, num_answerers=None), workload)[1]


def _one_each(option: str, values: list[int], gpus: list[int]) -> list[int]:
    if len(values) not in (1, len(gpus)):
        raise ValueError(f"{option} must be one number or {len(gpus)}, one per number of GPUs; got {len(values)}")
    return values * len(gpus) if len(values) == 1 else values


def _run(settings: SimulationSettings, folder: Path) -> "SimulationReport":
    """Simulate, unless a file of the same settings is there."""
    name = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"run-{name}.json"
    if path.exists():
        return _load(path)
    from pipeline.lab.simulation.report import summarize_run
    from pipeline.lab.simulation.simulator import Simulation

    started = time.perf_counter()
    seen = Simulation(settings).observe()
    report = summarize_run(settings, seen, wall_s=time.perf_counter() - started)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    temporary.rename(path)
    return report


def _load(path: Path) -> "SimulationReport":
    from pipeline.lab.simulation.report import SimulationReport

    return SimulationReport(**json.loads(path.read_text()))


def _sizes(report: "SimulationReport") -> list[str]:
    names = ("num_gpus", "frames_decoded_per_wanted", "decode_cores_per_gpu", "num_videos", "groups_in_hand")
    return [str(report.settings[name]) for name in names]


def _headline(report: "SimulationReport") -> dict[str, object]:
    """What is printed of a run: everything but its settings."""
    known = ("method", "num_gpus", "num_videos", "frames_decoded_per_wanted", "decode_cores_per_gpu")
    figures = {name: value for name, value in report.as_json().items() if name != "settings"}
    return {name: report.settings[name] for name in known} | {
        name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()
    }


if __name__ == "__main__":
    sys.exit(main())
