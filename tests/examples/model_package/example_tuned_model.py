"""A family of checkpoints whose ``model_type`` is ``example_tuned_vl``, built and asked as Qwen2.5-VL is.

A family with a language model of its own writes an adapter, too: ``pipeline/models/adapter.py`` says what it needs.
"""

import dataclasses

from transformers import AutoConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

import adapttoken


class TunedConfig(Qwen2_5_VLConfig):
    """The same fields."""

    model_type = "example_tuned_vl"


class TunedModel(Qwen2_5_VLForConditionalGeneration):
    """The same layers."""

    config_class = TunedConfig


AutoConfig.register(TunedConfig.model_type, TunedConfig, exist_ok=True)
FAMILY = dataclasses.replace(adapttoken.FAMILIES["qwen2_5_vl"], architecture=TunedModel)
