"""The settings of a run: the preset of its model, and what the command line changes of it."""

import argparse
from importlib.util import find_spec

from jobs.wiring.chosen_settings import layer_over, named_model
from jobs.wiring.logs import LOG
from jobs.wiring.model_source import pin_revision
from pipeline.method.selectors.registry import get_selector, preset_for_method
from pipeline.models.interface import ranking_layers
from pipeline.models.loading import ModelIdentity, check_reference_layer, describe_model, is_demo_model
from pipeline.models.registry import check_offers
from pipeline.settings.config import RunConfig
from pipeline.settings.presets import preset_for


def resolve_config(
    options: argparse.Namespace, *, check_method: bool = True, identity: ModelIdentity | None = None
) -> tuple[RunConfig, ModelIdentity]:
    """Preset of the model and what its method changes of it, then ``--config``, then ``--set``, then the named options.

    Args:
        options: of the command line.
        check_method: see below.
        identity: of the model, where it was described before.

    Raises:
        ValueError: For an unknown setting or a value out of range, if neither of them names a model, or if its family
            does not tell what the method looks at (unless ``check_method`` is off).
        PipelineError: Class ``model``: the checkpoint cannot be used.
    """
    if identity is None:
        identity = describe_model(named_model(options), storage_options=options.storage_options)
    is_demo = is_demo_model(identity.name)
    preset = preset_for(
        identity.name,
        num_layers=identity.layout.num_layers,
        is_demo=is_demo,
        family=identity.family,
        ranking_layers=ranking_layers(identity.layout),
    )
    method = layer_over(preset, options).method
    config = layer_over(preset_for_method(preset, method), options)
    check_reference_layer(identity.layout, config.scoring.reference_layer)
    ranker = get_selector(config.method).ranker
    if check_method and ranker is not None:
        wanted = {name: getattr(ranker.inputs, name) for name in ("saliency", "tower", "question")}
        check_offers(identity.family, wanted, method=config.method)
    _check_decoder(config.sampling.decoder)
    return pin_revision(config, identity.revision), identity


def _to_install(package: str) -> str:
    return "'adapttoken-ray[torchcodec]'" if package == "torchcodec" else package


def _check_decoder(decoder: str) -> None:
    """Refuse a decoder that is not installed; PyAV, which ``auto`` takes, always is."""
    package = {"nvdec": "torchcodec"}.get(decoder, decoder)
    if decoder not in ("auto", "pyav") and find_spec(package) is None:
        raise ValueError(
            f"sampling.decoder {decoder!r} is not installed here; pip install {_to_install(package)}, or use 'auto'"
        )
    if decoder == "nvdec":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("sampling.decoder 'nvdec' needs an NVIDIA GPU, and this machine shows none; use 'auto'")
        LOG.warning("sampling.decoder=nvdec: scorers decode on their GPUs, outside the sandbox (column sandbox)")
