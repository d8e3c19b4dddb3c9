"""Reads damaged videos by the thousand, as a check of the reader: exits 1 if one hangs, crashes or leaks anything."""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

from pipeline.lab.benchmarks.fuzzing import FuzzReport, fuzz_reader, write_sources
from pipeline.results.fitted_rows import fit_rows
from pipeline.results.summary import write_json_atomic

_MIB = 1024**2


def main(arguments: list[str] | None = None) -> int:
    """Make mutants of good videos, read them, and say how they ended."""
    parser = argparse.ArgumentParser(prog="fuzz_videos.py", description=__doc__)
    parser.add_argument("--count", type=int, default=2_000, help="how many mutants (default: 2,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout-s", type=float, default=20.0, help="the reader's deadline (default: 20)")
    modes = ("require", "auto", "off")
    parser.add_argument("--sandbox", choices=modes, default="require", help="as reading.sandbox (default: require)")
    parser.add_argument("--output", help="JSON file that receives the report")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.timeout_s <= 0:
        parser.error(f"--count must be at least 1 and --timeout-s positive: {options.count}, {options.timeout_s}")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        report = fuzz_reader(
            write_sources(Path(folder)),
            Path(folder),
            count=options.count,
            seed=options.seed,
            timeout_s=options.timeout_s,
            sandbox=options.sandbox,
            on_file=lambda index: _show_progress(index, options.count),
        )
    print(_format(report))
    if options.output:
        write_json_atomic(options.output, dataclasses.asdict(report) | {"problems": report.problems})
    return 1 if report.problems else 0


def _show_progress(index: int, count: int) -> None:
    if (index + 1) % 100 == 0:
        print(f"{index + 1}/{count}", file=sys.stderr)


def _format(report: FuzzReport) -> str:
    classes = list(report.outcomes)
    rows = [["damage", *classes], ["all", *(str(report.outcomes[name]) for name in classes)]]
    rows += [
        [kind, *(str(counts.get(name, 0)) for name in classes)] for kind, counts in report.outcomes_by_kind.items()
    ]
    table = "\n".join(fit_rows(rows, numbers=range(1, len(rows[0]))))
    memory = "  ".join(
        f"{who} {early / _MIB:.0f} -> {late / _MIB:.0f} MiB"
        for who, early, late in (
            ("child", report.child_bytes_at_20, report.child_bytes_at_200),
            ("parent", report.parent_bytes_at_20, report.parent_bytes_at_200),
        )
    )
    verdict = "\n".join(report.problems) or "no file hung, nothing crashed, nothing leaked"
    return (
        f"{table}\nsandbox: {report.sandbox}\n"
        f"{report.num_files} files in {report.wall_s:.0f} s, slowest answer {report.slowest_s:.1f} s\n"
        f"memory after 20 -> 200 videos: {memory}\n{verdict}"
    )


if __name__ == "__main__":
    sys.exit(main())
