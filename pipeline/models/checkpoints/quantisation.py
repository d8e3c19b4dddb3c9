"""Which package a quantised checkpoint needs, and whether it is installed."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from pipeline.models.checkpoints.files import model_error

# ``quant_method`` -> modules that transformers loads it with
_MODULES: Mapping[str, tuple[str, ...]] = {
    "awq": ("gptqmodel", "accelerate"),
    "gptq": ("optimum", "gptqmodel"),
    "bitsandbytes": ("bitsandbytes", "accelerate"),
    "compressed-tensors": ("compressed_tensors",),
    "torchao": ("torchao",),
    "fp8": ("accelerate",),
    "fbgemm_fp8": ("fbgemm_gpu", "accelerate"),
}
_PACKAGES = {"compressed_tensors": "compressed-tensors", "fbgemm_gpu": "fbgemm-gpu"}  # where the names differ


def check_quantiser(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a quantised checkpoint that cannot be loaded here.

    Args:
        name: checkpoint as given.
        config: content of its config.json.

    Raises:
        PipelineError: Class ``model``, with the package to install, or the methods that are known.
    """
    method = quantiser_of(config)
    if method is None:
        return
    if method not in _MODULES:
        known = ", ".join(sorted(_MODULES))
        raise model_error(
            name,
            f"is quantised by {method!r}, which is not known here",
            f"give the checkpoint that is not quantised, or one quantised by {known}",
        )
    missing = [module for module in _MODULES[method] if find_spec(module) is None]
    if missing:
        packages = " ".join(_PACKAGES.get(module, module) for module in missing)
        raise model_error(
            name,
            f"is quantised by {method!r}, which needs what is not installed here: {packages}",
            f"pip install {packages}, or give the checkpoint that is not quantised",
        )


def quantiser_of(config: Mapping[str, Any]) -> str | None:
    """The method that a checkpoint is quantised by, such as ``awq``; None where it is not."""
    settings = _find_settings(config)
    return None if settings is None else _method_of(settings)


def _find_settings(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Of the whole model or of its text model."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        for key in ("quantization_config", "compression_config"):
            if isinstance(part.get(key), dict):
                return dict(part[key])
    return None


def _method_of(settings: Mapping[str, Any]) -> str:
    method = str(settings.get("quant_method", ""))
    if not method and (settings.get("load_in_4bit") or settings.get("load_in_8bit")):
        return "bitsandbytes"
    return method.removesuffix("_4bit").removesuffix("_8bit")
