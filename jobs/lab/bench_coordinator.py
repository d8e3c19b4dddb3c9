"""How many group completions per second one coordinator takes in: the real actor, and workers that do nothing.

Workers report scores, references to (empty) frames and answers at once; what is measured is calls, serialisation and
decisions. Everything runs on this machine, workers included.
"""

import argparse
import json
import sys

from pipeline.lab.simulation.settings import SimulationSettings


def main(arguments: list[str] | None = None) -> int:
    """Measure, print one line of JSON."""
    parser = argparse.ArgumentParser(prog="bench_coordinator.py", description=__doc__)
    parser.add_argument("--videos", type=int, default=40, help="of 10,000 sampled frames: 157 groups")
    parser.add_argument("--questions", type=int, default=4, help="per video")
    parser.add_argument("--scorers", type=int, default=2, help="processes")
    parser.add_argument("--decoders", type=int, default=1, help="processes")
    parser.add_argument("--references", type=int, default=1, help="per group: stretches of a pass with frames in them")
    parser.add_argument("--groups-in-hand", type=int, default=8, help="completions per call")
    parser.add_argument("--method", default="adapttoken")
    options = parser.parse_args(arguments)
    settings = SimulationSettings(
        method=options.method,
        num_videos=options.videos,
        num_questions=options.questions,
        num_gpus=options.scorers,
        num_answerers=0,
        decode_cores_per_gpu=options.decoders / options.scorers,
        groups_in_hand=options.groups_in_hand,
    )
    from cluster.session import ray_session
    from jobs.lab.coordinator_load import measure_load

    with ray_session(num_cpus=options.scorers + options.decoders):
        first, last = measure_load(settings, references=options.references)
    wall_s, cpu_s, groups = last.wall_s - first.wall_s, last.cpu_s - first.cpu_s, last.num_groups - first.num_groups
    figures = {"num_groups": groups, "wall_s": round(wall_s, 2), "coordinator_cpu_s": round(cpu_s, 2)}
    rates = {"groups_per_s": round(groups / wall_s), "groups_per_coordinator_cpu_s": round(groups / cpu_s)}
    print(json.dumps({**vars(options), **figures, **rates}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
