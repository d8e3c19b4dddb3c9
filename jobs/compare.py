"""Methods side by side: one manifest, one model, one decode and one encode for all of them; accuracy, budgets, seconds.

    python jobs/compare.py --manifest bench/manifest.parquet --model demo --output comparison \
        --methods adapttoken uniform evs rediprune --budgets 16 64 256

The first method is what the others are compared with. Methods that thin every frame are run as published (a tenth of
the tokens of as many frames as the budget holds) and, with --dense, over all frames too. All settings of run.py apply.
Writes comparison.json, comparison.md and comparison.png, and parts/, by which the same command goes on where it was
interrupted. See docs/methods.md.
"""

import sys
from pathlib import Path

from jobs.wiring.cli import build_parser
from jobs.wiring.command_line import CommandParser, command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.start import check_at_a_glance
from jobs.wiring.terminal import measure_width
from pipeline.failures import PipelineError, with_store_errors
from pipeline.uris import redact_text

_USAGE = "%(prog)s --manifest FILE --model MODEL --output DIR --methods NAME … --budgets N … [options of run.py]"
_DEFAULT_METHODS = ("adapttoken", "no-entropy", "equal-quota", "uniform", "top-frames", "evs", "rediprune", "promprune")


def main(arguments: list[str] | None = None, *, prog: str = "compare.py") -> int:
    """Compare once; returns the exit code."""
    parser = _build_parser(prog)
    options, passed_on = parser.parse_known_args(arguments)
    settings_parser = build_parser(prog, _USAGE)
    settings_parser.elsewhere = parser.own_options()
    run_options = ["--manifest", options.manifest, "--output", str(options.output), *passed_on]
    try:
        check_at_a_glance(settings_parser.parse_args(run_options))
        from jobs.wiring.comparison import compare
        from pipeline.evaluation.analysis.output import print_analysis, write_analysis

        analysis = compare(options, passed_on)
        if analysis is None:
            print(f"share {options.share} is answered; without --share the same command draws the table")
            return EXIT_OK
        print_analysis(analysis, width=measure_width())
        for path in write_analysis(analysis, options.output):
            print(path)
    except PipelineError as error:
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_JOB
    except with_store_errors(ValueError, OSError) as error:
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ValueError) else EXIT_JOB
    return EXIT_OK


def _build_parser(prog: str) -> CommandParser:
    parser = command_parser(prog, __doc__, exit_codes="0 done, 2 usage, 1 the storage, a video or the model")
    parser.add_argument("--manifest", required=True, help="with a column expected")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder that receives the files")
    parser.add_argument(
        "--methods", nargs="+", default=list(_DEFAULT_METHODS), metavar="NAME", help="the first: baseline"
    )
    parser.add_argument("--budgets", nargs="+", type=int, metavar="N", help="tokens; default: that of the preset")
    parser.add_argument("--dense", action="store_true", help="thinning methods over all frames, too")
    parser.add_argument("--share", metavar="K/N", help="answer every Nth video only; for N processes side by side")
    parser.add_argument(
        "--preset", choices=("paper", "model"), help="settings: default the model's own for demo, else the paper's"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
