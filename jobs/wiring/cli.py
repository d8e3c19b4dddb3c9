"""The command line of ``run.py``: options only; what they mean is in ``pipeline.settings.config``."""

import argparse
from dataclasses import replace
from importlib.util import find_spec

from jobs.wiring.logs import LEVELS
from jobs.wiring.model_source import pin_revision
from jobs.wiring.storage_options import add_storage_options
from pipeline.method.selectors.registry import SELECTORS, get_selector
from pipeline.models.checkpoints.source import DEMO_MODEL
from pipeline.models.loading import ModelIdentity, check_reference_layer, describe_model, is_demo_model
from pipeline.settings.config import ModelConfig, RunConfig, SamplingConfig
from pipeline.settings.presets import preset_for
from pipeline.settings.reading import apply_overrides, load_config

_SHORTCUTS = {
    "method": "method",
    "model": "model.model",
    "max_frames": "sampling.max_frames",
    "sample_fps": "sampling.sample_fps",
    "frames_per_group": "sampling.frames_per_group",
    "token_budget": "budget.token_budget",
    "num_scorers": "execution.num_scorers",
}
_SETTINGS = "What is not given is as the model's preset has it. The config.yaml of each run holds all settings."
# Which preset applies is known only once the model is; until then no setting may clash with another's default.
_NO_MODEL = "(none named)"
_BEFORE_PRESET = RunConfig(
    model=ModelConfig(model=_NO_MODEL),
    sampling=SamplingConfig(min_pixels=1, max_pixels=2**62, snap_tolerance_s=0.0),
)
_NAME_A_MODEL = (
    "no model is named: add --model with a checkpoint (a hub id such as Qwen/Qwen2.5-VL-7B-Instruct, a folder or "
    "s3://bucket/prefix), or set model.model; --model demo is the toy model, which knows the demo archive only"
)


def build_parser() -> argparse.ArgumentParser:
    """All options of the main job."""
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Answer questions about long videos. Exit codes: 0 done, 2 usage or manifest, "
        "3 more failed questions than --max-failures, 1 the job itself, 130/143 interrupted.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--manifest", metavar="FILE", help="Parquet, CSV or JSON lines: question_id, video, question, options, …"
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
    group.add_argument("--method", choices=sorted(SELECTORS), help="-lite stops early; default: adapttoken")
    group.add_argument("--max-frames", type=int, metavar="N", help="at most so many sampled frames per video")
    group.add_argument("--sample-fps", type=float, metavar="N", help="sampled frames per second of video")
    group.add_argument("--frames-per-group", type=int, metavar="N", help="sampled frames per group")
    group.add_argument("--token-budget", type=int, metavar="N", help="visual tokens in the final pass")
    group.add_argument("--num-scorers", type=int, metavar="N", help="processes that own a copy of the model")
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


def _add_plan(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--plan", action="store_true", help="check everything, say what it will cost, start nothing")
    group.add_argument("--plan-output", metavar="FILE", help="JSON file for the same figures")
    group.add_argument(
        "--plan-probes", type=int, default=32, metavar="N", help="videos whose headers are read; default: 32"
    )
    group.add_argument(
        "--plan-tflops", type=float, metavar="N", help="TFLOP/s that one scorer sustains, instead of the assumed"
    )
    group.add_argument("--plan-gpu-gib", type=float, default=80.0, metavar="N", help="memory of one GPU; default: 80")


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--executor",
        choices=("ray", "serial"),
        default="ray",
        help="ray (default): the cluster that it runs in, or one of its own on this machine; serial: this process",
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
    group.add_argument("--log-level", type=str.lower, choices=LEVELS, default="info", help="default: info")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least 0 seconds, got {text}")
    return seconds


def resolve_config(options: argparse.Namespace) -> tuple[RunConfig, ModelIdentity]:
    """Preset of the model, then ``--config``, then ``--set``, then the named options.

    Raises:
        ValueError: For an unknown setting or a value out of range, or if neither of them names a model.
        PipelineError: Class ``model``: the checkpoint cannot be used.
    """
    named = {key: getattr(options, name) for name, key in _SHORTCUTS.items() if getattr(options, name) is not None}

    storage = options.storage_options

    def layer_over(base: RunConfig) -> RunConfig:
        file_and_sets = load_config(base, yaml_uri=options.config, sets=options.sets, storage_options=storage)
        return apply_overrides(file_and_sets, named)

    identity = describe_model(_named_model(layer_over(_BEFORE_PRESET), options), storage_options=storage)
    is_demo = is_demo_model(identity.name)
    config = layer_over(
        preset_for(identity.name, num_layers=identity.layout.num_layers, is_demo=is_demo, family=identity.family)
    )
    check_reference_layer(identity.layout, config.scoring.reference_layer)
    get_selector(config.method)
    _check_decoder(config.sampling.decoder)
    return pin_revision(config, identity.revision), identity


def _named_model(config: RunConfig, options: argparse.Namespace) -> ModelConfig:
    """Which model the user chose; only the demo archive, which the toy model was made for, is asked without."""
    if config.model.model != _NO_MODEL:
        return config.model
    if not options.demo:
        raise ValueError(_NAME_A_MODEL)
    return replace(config.model, model=DEMO_MODEL)


def _check_decoder(decoder: str) -> None:
    """Refuse a decoder that is not installed; PyAV, which ``auto`` takes, always is."""
    if decoder not in ("auto", "pyav") and find_spec(decoder) is None:
        raise ValueError(f"sampling.decoder {decoder!r} is not installed here; pip install {decoder}, or use 'auto'")
