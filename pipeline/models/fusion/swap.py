"""Which modules of a stock model can be fused, what that takes, and putting the fused calls in place and back.

Modules are known by the name of their stock class: what is not listed here stays as it is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from pipeline.models.fusion.decoder import (
    fuse_attention,
    fuse_decoder_layer,
    fuse_deepstack,
    fuse_gated_mlp,
    fuse_rms_norm,
)
from pipeline.models.fusion.regions import Regions
from pipeline.models.fusion.stream import add_norm_name
from pipeline.models.fusion.tower import fuse_scaled_layer, fuse_tower_attention, fuse_tower_block

_OF_TEXT = ("Qwen2_5_VL{}", "Qwen3VLText{}", "Qwen3VLMoeText{}", "Qwen2{}", "Qwen3{}", "Qwen3Moe{}", "Llama{}")
_OF_TOWERS = ("Qwen2_5_VLVision{}", "Qwen3VLVision{}", "Qwen3VLMoeVision{}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A region at one width of a model.

    Attributes:
        region: a key of ``FORMULAS``.
        sizes: of a row.
    """

    region: str
    sizes: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def __str__(self) -> str:
        return f"{self.region} {'x'.join(map(str, self.sizes))}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """One call of one module that can be replaced.

    Attributes:
        module: of the stock model.
        attribute: the name of the call.
        needs: regions that must be exact.
        build: makes the replacement.
    """

    module: Any
    attribute: str
    needs: tuple[Need, ...]
    build: Callable[[Regions], Callable[..., Any]]


@dataclass(kw_only=True, slots=True)
class FusedLayers:
    """What is in place of stock calls, and what was there before."""

    replaced: list[tuple[Any, str, Any]] = field(default_factory=list)
    before: list[tuple[Any, str, Any]] = field(default_factory=list)

    def put(self, module: Any, attribute: str, call: Callable[..., Any]) -> None:
        """Replace a call, inside a hook where accelerate has put one around it."""
        if attribute == "forward" and hasattr(module, "_hf_hook"):
            attribute = "_old_forward"
        self.before.append((module, attribute, module.__dict__.get(attribute)))
        self.replaced.append((module, attribute, call))
        setattr(module, attribute, call)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Inside, the model is stock."""
        for module, attribute, call in self.before:
            if call is None:
                delattr(module, attribute)
            else:
                setattr(module, attribute, call)
        try:
            yield
        finally:
            for module, attribute, call in self.replaced:
                setattr(module, attribute, call)


Plan = Callable[[Any, torch.dtype], list[Swap]]


def plan_swaps(model: Any) -> list[Swap]:
    """All that this model could have fused."""
    swaps: list[Swap] = []
    for module in model.modules():
        plan = _PLANS.get(type(module).__name__)
        if plan is not None and type(module).__module__.startswith("transformers."):
            swaps += plan(module, model.dtype)
    return swaps


def fuse_layers(swaps: Sequence[Swap], regions: Regions, *, exact: frozenset[Need] | None = None) -> FusedLayers:
    """Put fused calls in place.

    Args:
        swaps: of ``plan_swaps``.
        regions: by name.
        exact: needs that were found exact; None: all.
    """
    layers = FusedLayers()
    for swap in swaps:
        if exact is None or exact.issuperset(swap.needs):
            layers.put(swap.module, swap.attribute, swap.build(regions))
    return layers


def _plan_norm(norm: Any, working: torch.dtype) -> list[Swap]:
    return [
        Swap(
            module=norm, attribute="forward", needs=(_need("rms_norm", norm.weight),), build=_with(fuse_rms_norm, norm)
        )
    ]


def _plan_gated_mlp(mlp: Any, working: torch.dtype) -> list[Swap]:
    if not _is_silu(mlp.act_fn):
        return []
    need = _need_behind("gated_silu", mlp.gate_proj, working, mlp.down_proj.in_features)
    return [Swap(module=mlp, attribute="forward", needs=(need,), build=_with(fuse_gated_mlp, mlp))]


def _plan_attention(attention: Any, working: torch.dtype) -> list[Swap]:
    config, linear = attention.config, attention.o_proj
    name = "norm_rotate" if hasattr(attention, "q_norm") else "rotate"
    heads = config.num_attention_heads, config.num_key_value_heads
    needs = tuple(_need_behind(name, linear, working, count, attention.head_dim) for count in heads)
    return [Swap(module=attention, attribute="forward", needs=needs, build=_with(fuse_attention, attention))]


def _plan_tower_attention(attention: Any, working: torch.dtype) -> list[Swap]:
    need = _need_behind("rotate_both", attention.proj, working, attention.num_heads, attention.head_dim)
    return [Swap(module=attention, attribute="forward", needs=(need,), build=_with(fuse_tower_attention, attention))]


def _plan_decoder(model: Any, working: torch.dtype) -> list[Swap]:
    """Layers hand their last update on; deepstack and the layer behind take it."""
    layers, swaps = list(model.layers), []
    if not all(hasattr(layer, "post_attention_layernorm") for layer in layers):
        return []
    norms = [norm for layer in layers for norm in (layer.input_layernorm, layer.post_attention_layernorm)]
    needs = _norm_needs(norms)
    if hasattr(model, "_deepstack_process"):
        needs += (_need("add_deepstack", norms[0].weight),)
        swaps.append(
            Swap(module=model, attribute="_deepstack_process", needs=needs, build=_with(fuse_deepstack, model))
        )
    return swaps + _chain(layers, fuse_decoder_layer, needs, plain=())


def _plan_tower(tower: Any, working: torch.dtype) -> list[Swap]:
    """Deepstack mergers of Qwen3-VL read the stream itself."""
    blocks = list(tower.blocks)
    needs = _norm_needs([norm for block in blocks for norm in (block.norm1, block.norm2)])
    return _chain(blocks, fuse_tower_block, needs, plain=getattr(tower, "deepstack_visual_indexes", ()))


def _plan_scaled_tower(encoder: Any, working: torch.dtype) -> list[Swap]:
    layers = list(encoder.layer)
    if any(layer.lambda_2 is None for layer in layers):
        return []
    norms = [norm for layer in layers for norm in (layer.layernorm_before, layer.layernorm_after)]
    needs = (*_norm_needs(norms, is_scaled=True), _need("scaled_add", norms[0].weight))
    return _chain(layers, fuse_scaled_layer, needs, plain=())


def _chain(
    layers: Sequence[Any], fuse: Callable[..., Any], needs: tuple[Need, ...], *, plain: Sequence[int]
) -> list[Swap]:
    """Layers one after the other, all fused or none; the last hands on nothing, nor do ``plain`` ones."""
    last = len(layers) - 1
    return [
        Swap(
            module=layer,
            attribute="forward",
            needs=needs,
            build=_with(fuse, layer, hands_on=index != last and index not in plain),
        )
        for index, layer in enumerate(layers)
    ]


def _norm_needs(norms: Sequence[Any], *, is_scaled: bool = False) -> tuple[Need, ...]:
    return tuple(dict.fromkeys(_need(add_norm_name(norm, is_scaled=is_scaled), norm.weight) for norm in norms))


def _need(region: str, weight: Any, *sizes: int) -> Need:
    return Need(region=region, sizes=sizes or tuple(weight.shape), dtype=weight.dtype, device=weight.device)


def _need_behind(region: str, linear: Any, working: torch.dtype, *sizes: int) -> Need:
    """Over what a linear layer gives; a quantised one, whatever it calls its weights, answers in the working type."""
    weight = getattr(linear, "weight", None)
    if weight is None:  # packed under another name
        weight = next(tensor for tensors in (linear.parameters(), linear.buffers()) for tensor in tensors)
    dtype = weight.dtype if weight.is_floating_point() and weight.element_size() > 1 else working
    return Need(region=region, sizes=sizes, dtype=dtype, device=weight.device)


def _with(build: Callable[..., Any], module: Any, **facts: Any) -> Callable[[Regions], Callable[..., Any]]:
    return lambda regions: build(module, regions, **facts)


def _is_silu(activation: Any) -> bool:
    return isinstance(activation, nn.SiLU) or type(activation).__name__ == "SiLUActivation"


def _named(patterns: Sequence[str], part: str, plan: Plan) -> dict[str, Plan]:
    return {pattern.format(part): plan for pattern in patterns}


_PLANS: Mapping[str, Plan] = MappingProxyType(
    _named(_OF_TEXT, "RMSNorm", _plan_norm)
    | {"InternVLVisionRMSNorm": _plan_norm}
    | _named(_OF_TEXT, "Attention", _plan_attention)
    | _named(_OF_TOWERS, "Attention", _plan_tower_attention)
    | dict.fromkeys(("Qwen2MLP", "Qwen3MLP", "Qwen3MoeMLP", "LlamaMLP", "Qwen2_5_VLMLP"), _plan_gated_mlp)
    | dict.fromkeys(("Qwen3VLTextMLP", "Qwen3VLMoeTextMLP"), _plan_gated_mlp)
    | dict.fromkeys(("Qwen2_5_VLTextModel", "Qwen3VLTextModel", "Qwen3VLMoeTextModel"), _plan_decoder)
    | dict.fromkeys(("Qwen2Model", "Qwen3Model", "Qwen3MoeModel", "LlamaModel"), _plan_decoder)
    | dict.fromkeys(("Qwen2_5_VisionTransformerPretrainedModel",), _plan_tower)
    | dict.fromkeys(("Qwen3VLVisionModel", "Qwen3VLMoeVisionModel"), _plan_tower)
    | {"InternVLVisionEncoder": _plan_scaled_tower}
)
