"""The command line of ``run.py``: options only; what they mean is in ``pipeline.settings.config``."""

import argparse

from cluster.placement import ClusterSize
from cluster.shape import SHAPE_FORM, parse_shape
from jobs.wiring.command_line import CommandParser, command_parser
from jobs.wiring.logs import FORMS, LEVELS
from jobs.wiring.storage_options import add_storage_options
from jobs.wiring.tracking import TRACKERS
from pipeline.method.selectors.registry import method_names

_USAGE = "%(prog)s (--manifest FILE … --output FOLDER | --demo) --model MODEL [more options]"
_SETTINGS = "What is not given is as the model's preset has it. The config.yaml of each run holds all settings."


def build_parser(prog: str = "run.py", usage: str = _USAGE) -> CommandParser:
    """All options of the main job.

    Args:
        prog: how it was called.
        usage: of a command that hands its other options to this one.
    """
    parser = command_parser(
        prog,
        "Answer questions about long videos.",
        usage=usage,
        exit_codes="0 done, 2 usage or manifest, 3 more failed questions than --max-failures, 1 the job itself, "
        "130/143 interrupted",
        allow_abbrev=True,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--manifest",
        nargs="+",
        action="extend",
        metavar="FILE",
        help="Parquet, CSV, TSV or JSON: video, question, options, question_id, …; "
        "several, folders of them and patterns are one",
    )
    source.add_argument("--demo", action="store_true", help="make a small archive, answer it, print a table")
    parser.add_argument(
        "--output", metavar="FOLDER", help="where answers/ and runs/ go, also s3://…; with --demo: demo_output"
    )
    _add_settings(parser.add_argument_group("settings", _SETTINGS))
    _add_rows(parser.add_argument_group("which rows, and what becomes of them"))
    _add_plan(parser.add_argument_group("plan"))
    _add_running(parser.add_argument_group("running"))
    return parser


def _add_settings(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", help="a hub id, a folder, s3://bucket/prefix or demo; needed, but for --demo")
    group.add_argument("--method", choices=method_names(), help="-lite stops early; default: adapttoken")
    group.add_argument("--max-frames", type=int, metavar="N", help="at most so many sampled frames per video")
    group.add_argument("--sample-fps", type=float, metavar="N", help="sampled frames per second of video")
    group.add_argument("--frames-per-group", type=int, metavar="N", help="sampled frames per group")
    group.add_argument("--token-budget", type=int, metavar="N", help="visual tokens in the final pass")
    group.add_argument("--num-scorers", type=int, metavar="N", help="processes that own a copy of the model")
    group.add_argument(
        "--frame-store", metavar="URI", help="folder or s3://… of decoded frames: the next question decodes no video"
    )
    group.add_argument("--config", metavar="FILE", help="YAML with the sections of pipeline/settings/config.py")
    group.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any field of pipeline/settings/config.py, such as tau=0.5 or execution.num_decoders=4; may be repeated",
    )


def _add_rows(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--limit", type=int, metavar="N", help="only the first rows of the manifest")
    group.add_argument("--skip-bad-rows", action="store_true", help="bad manifest rows become failed rows")
    group.add_argument("--retry-failed", action="store_true", help="answer again what failed in an earlier run")
    group.add_argument(
        "--max-failures",
        type=int,
        default=0,
        metavar="N",
        help="up to so many failed questions still end with exit code 0; default: 0",
    )
    group.add_argument(
        "--partition-by", metavar="COLUMN", help="a manifest column with few values: one folder of results for each"
    )
    group.add_argument(
        "--table",
        choices=("parquet", "delta"),
        default="parquet",
        help="delta: also keep OUTPUT/delta, a Delta table of which each version is one state of the answers",
    )


def _add_plan(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--plan", action="store_true", help="check everything, say what it will cost, start nothing")
    group.add_argument("--plan-output", metavar="FILE", help="JSON file for the same figures")
    group.add_argument(
        "--plan-probes", type=int, default=32, metavar="N", help="videos whose headers are read; default: 32"
    )
    group.add_argument(
        "--plan-tflops", type=float, metavar="N", help="TFLOP/s that one scorer sustains, instead of the assumed"
    )
    group.add_argument(
        "--cluster-shape",
        type=_shape,
        metavar="SHAPE",
        help=f"plan for other machines than these: {SHAPE_FORM}",
    )
    group.add_argument("--plan-gpu-gib", type=float, default=80.0, metavar="N", help="memory of one GPU; default: 80")


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--executor",
        choices=("ray", "serial"),
        default="ray",
        help="ray (default): the cluster that it runs in, or one of its own on this machine; serial: this process",
    )
    group.add_argument(
        "--address", metavar="ADDRESS", help="of a running Ray cluster to join, or auto; inside ray job submit: none"
    )
    add_storage_options(group)
    group.add_argument(
        "--progress-every",
        type=_seconds,
        default=15.0,
        metavar="S",
        help="between lines in a log; default: 15, 0: none",
    )
    group.add_argument(
        "--progress-interval-s",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="between updates of progress.json; default: 10",
    )
    group.add_argument(
        "--track",
        choices=TRACKERS,
        help="tell MLflow or Weights & Biases of the run, as their own variables say",
    )
    group.add_argument(
        "--otel", action="store_true", help="OpenTelemetry spans of videos and stages, sent as OTEL_… variables say"
    )
    group.add_argument("--log-level", type=str.lower, choices=LEVELS, default="info", help="default: info")
    group.add_argument(
        "--log-format", choices=FORMS, default="text", help="json: an object per line, progress included; default: text"
    )


def _shape(text: str) -> ClusterSize:
    try:
        return parse_shape(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least 0 seconds, got {text}")
    return seconds
