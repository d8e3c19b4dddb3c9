"""Makes the sceptic's tables and pictures anew, all of the same weights: benchmark, runs, tables. Can be resumed."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.wiring import start
from jobs.wiring.exit_codes import EXIT_FAILURES, EXIT_OK
from pipeline.evaluation.analysis.output import print_analysis, write_analysis
from pipeline.lab.moments.benchmark import MomentBenchmarkSpec, write_moment_benchmark
from pipeline.lab.sceptic.runs import BUDGETS, PlannedRun, plan_runs, write_bounds
from pipeline.lab.sceptic.tables import analyze_budgets, analyze_certainty, analyze_looks, analyze_methods
from pipeline.lab.synthetic.benchmark import BenchmarkSpec, write_benchmark
from pipeline.results.finished import read_answers


def main(arguments: list[str] | None = None) -> int:
    """What an earlier call with the same folder finished is kept; other arguments are passed on to every run."""
    parser = argparse.ArgumentParser(prog="make_tables.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--output", type=Path, required=True, help="folder for benchmark, runs and tables")
    parser.add_argument("--seed", type=int, required=True, help="one that was used for nothing else")
    parser.add_argument("--benchmark", choices=("moments", "synthetic"), default="moments")
    parser.add_argument("--num-frames", type=int, default=10_000)
    parser.add_argument("--videos", type=int, default=50)
    parser.add_argument(
        "--budgets",
        type=lambda text: tuple(int(part) for part in text.split(",") if part),
        default=BUDGETS,
        help="of the sweep, e.g. 4,64; empty: none",
    )
    options, passed_on = parser.parse_known_args(arguments)
    try:
        manifest = _make_benchmark(options)
        write_bounds(manifest)
        runs = {
            run.name: _answer(run, manifest.parent, options.output, passed_on)
            for run in plan_runs(budgets=options.budgets)
        }
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    analyses = [analyze_methods(runs), analyze_certainty(runs), analyze_looks(runs)]
    analyses += [analyze_budgets(runs, options.budgets)] if options.budgets else []
    for analysis in analyses:
        write_analysis(analysis, options.output / "tables")
        print_analysis(analysis)
    return 0


def _make_benchmark(options: argparse.Namespace) -> Path:
    folder = options.output / "benchmark"
    frames = (options.num_frames,)
    if options.benchmark == "moments":
        moments = MomentBenchmarkSpec(num_frames=frames, videos_per_length=options.videos, seed=options.seed)
        return write_moment_benchmark(folder, moments)
    spec = BenchmarkSpec(num_frames=frames, videos_per_length=options.videos, seed=options.seed)
    return write_benchmark(folder, spec)


def _answer(run: PlannedRun, benchmark: Path, output: Path, passed_on: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of one run, finished before or now.

    Raises:
        OSError: If it ended without finishing.
    """
    place = output / "runs" / run.name
    settings = [word for key, value in run.settings for word in ("--set", f"{key}={value}")]
    manifest = ["--manifest", str(benchmark / run.manifest), "--output", str(place), "--method", run.method]
    code = start.main([*manifest, *passed_on, *settings])
    if code not in (EXIT_OK, EXIT_FAILURES):
        raise OSError(f"the run {run.name} ended with exit code {code}; its output is {place}")
    rows: list[dict[str, Any]] = read_answers(str(place)).to_pylist()
    return rows


if __name__ == "__main__":
    sys.exit(main())
