"""Which settings the command line chooses, over whatever base: file, ``--set``, named options. Loads no model."""

import argparse
from dataclasses import replace

from pipeline.method.selectors.registry import get_selector, method_names
from pipeline.settings.config import DEMO_MODEL, ModelConfig, RunConfig, SamplingConfig
from pipeline.settings.reading import apply_overrides, load_config

_SHORTCUTS = {
    "method": "method",
    "model": "model.model",
    "max_frames": "sampling.max_frames",
    "sample_fps": "sampling.sample_fps",
    "frames_per_group": "sampling.frames_per_group",
    "token_budget": "budget.token_budget",
    "num_scorers": "execution.num_scorers",
    "frame_store": "frame_store.uri",
}
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


def layer_over(base: RunConfig, options: argparse.Namespace) -> RunConfig:
    """``base``, then ``--config``, then ``--set``, then the named options.

    Raises:
        ValueError: For an unknown setting or a value out of range.
    """
    named = {key: getattr(options, name) for name, key in _SHORTCUTS.items() if getattr(options, name) is not None}
    file_and_sets = load_config(
        base, yaml_uri=options.config, sets=options.sets, storage_options=options.storage_options
    )
    return apply_overrides(file_and_sets, named)


def named_model(options: argparse.Namespace) -> ModelConfig:
    """Which model the user chose; only the demo archive, which the toy model was made for, is asked without.

    Raises:
        ValueError: None, or a setting is wrong.
    """
    config = layer_over(_BEFORE_PRESET, options)
    if config.model.model != _NO_MODEL:
        return config.model
    if not options.demo:
        raise ValueError(_NAME_A_MODEL)
    return replace(config.model, model=DEMO_MODEL)


def check_method(options: argparse.Namespace) -> None:
    """A method that a file or ``--set`` names; what a package brings is only found, not loaded.

    Raises:
        ValueError: There is none of that name; names the nearest.
    """
    method = layer_over(_BEFORE_PRESET, options).method
    if method not in method_names():
        get_selector(method)


def addresses_of(options: argparse.Namespace) -> list[str]:
    """What a run's command line names: manifests, output, model, frame store; not the videos inside a manifest.

    Raises:
        ValueError: A setting is wrong.
    """
    config = layer_over(_BEFORE_PRESET, options)
    others = (options.output, config.model.model, config.frame_store.uri, options.config)
    return [str(uri) for uri in (*(options.manifest or ()), *others) if uri]
