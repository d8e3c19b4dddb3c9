"""How much memory a checkpoint takes, and on how many GPUs it fits: arithmetic over its configuration, no weights.

Parameters are counted on the meta device, so they are exact. Working memory is an estimate of the peak, from the shapes
that the settings fix: it does not grow with the number of frames of a video.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from pipeline.method.budget import overselected
from pipeline.models.devices.fp8_linear import NarrowPart, count_narrow
from pipeline.models.devices.linear_layers import LinearLayers, held_by_layer
from pipeline.models.interface import ModelLayout
from pipeline.models.shared_prefix import MASKS_KEPT
from pipeline.models.static_greedy import count_held
from pipeline.settings.config import ModelConfig, RunConfig
from pipeline.video.backends.nvdec import SESSION_BYTES, SESSIONS

DECODER = "model.language_model"
_TEXT_TOKENS_PER_PATCH = 16  # timestamps or frame names between visual tokens, at most
_TEXT_TOKENS = 256  # chat template around video and question
_QUESTION_TOKENS = 256  # a long question with its options
_ASPECT_RATIOS = ((1, 1), (4, 3), (3, 2), (16, 9), (20, 11), (2, 1), (21, 9))
_PIXEL_BYTES = 10 * 3 * 2 * 16 * 16  # of one vision patch: two float32 forms and one of the model's type
_PREFIX_COPIES = 2  # the cache of a micro-batch starts with a copy of its own
_ROW_COPIES = 3  # attention rows in float32: products, masked products, their softmax


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPart:
    """What a checkpoint's files hold of one part: numbers that are cast to the working type, and bytes that are not."""

    elements: int
    packed_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSize:
    """A model's parts in the units in which they are placed, and the widths that working memory depends on.

    Attributes:
        first: module -> parameters, of what runs before the decoder layers; output head included if its weights are
            those of the input embedding.
        layers: likewise, one entry per decoder layer.
        last: likewise, what runs after them.
        kv_elements: keys and values of one token in one layer that has them.
        feature_elements: of one visual token, features for several layers included.
        intermediate: inner width of the widest feed-forward; of experts, all that one token is sent to.
        experts_per_token: to how many one token is sent; 0 without experts.
        stored: module -> what the files hold, which goes before the counts above; empty where that is not known.
        linear: layers with states in place of keys and values; questions then have rows of their own. None: no such.
        narrow: module -> what of it can be in 8 bits; without what there is nothing of.
    """

    first: Mapping[str, int]
    layers: Mapping[str, int]
    last: Mapping[str, int]
    kv_elements: int
    feature_elements: int
    hidden: int
    intermediate: int
    experts_per_token: int
    num_heads: int
    head_dim: int
    vocab: int
    vision_hidden: int
    vision_intermediate: int
    vision_patches_per_token: int
    stored: Mapping[str, StoredPart] = field(default_factory=dict)
    linear: LinearLayers | None = None
    narrow: Mapping[str, NarrowPart] = field(default_factory=dict)

    @property
    def parts(self) -> Mapping[str, int]:
        """All modules and their parameters; shared weights count once."""
        return {**self.first, **self.layers, **self.last}

    @property
    def num_parameters(self) -> int:
        """Of the whole model, whatever their type."""
        return sum(self.parts.values())

    def with_stored(self, stored: Mapping[str, StoredPart]) -> "ModelSize":
        """The same model with what its files hold."""
        return replace(self, stored=stored)

    def weight_bytes(self, part: str, element_bytes: int, *, is_fp8: bool = False) -> int:
        """Of one module on a device.

        Args:
            part: a key of ``parts``.
            element_bytes: of the working type.
            is_fp8: with ``model.quantization=fp8``.
        """
        saved = self.narrow[part].saved_bytes(element_bytes) if is_fp8 and part in self.narrow else 0
        if part in self.stored:
            return self.stored[part].elements * element_bytes + self.stored[part].packed_bytes - saved
        return self.parts[part] * element_bytes - saved


@dataclass(frozen=True, kw_only=True, slots=True)
class PeakShapes:
    """Shapes that a run's settings fix.

    Attributes:
        prefix_tokens: positions before the question, of a group or of the final pass, whichever is longer.
        prefix_copies: how often its keys and values lie in memory: as the prefix, and once before the questions.
        question_batch: questions scored together; ``question_tokens`` with each one's response.
        vision_tokens: visual tokens that the vision tower makes at once.
        candidate_tokens: visual tokens kept for one question.
    """

    prefix_tokens: int
    prefix_copies: int
    question_batch: int
    question_tokens: int
    vision_tokens: int
    candidate_tokens: int


NO_WORK = PeakShapes(
    prefix_tokens=0, prefix_copies=0, question_batch=0, question_tokens=0, vision_tokens=0, candidate_tokens=0
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryNeed:
    """Bytes by where they arise.

    Attributes:
        first_bytes: weights of ``ModelSize.first``, candidate tokens; with ``nvdec`` decoded frames and decoders.
        layer_bytes: per decoder layer, weights with keys and values, or with states.
        last_bytes: weights of ``ModelSize.last``, logits.
        vision_bytes: working memory of the vision tower, ``text_bytes`` of one decoder layer; never both at once.
        weight_bytes: of all weights, contained above.
        captured_bytes: of each decoder layer where steps are captured, which takes that there is one device.
        loading: what is needed before weights are in 8 bits, where they are going to be; None: no more than later.
    """

    first_bytes: int
    layer_bytes: tuple[int, ...]
    last_bytes: int
    vision_bytes: int
    text_bytes: int
    weight_bytes: int
    captured_bytes: int = 0
    loading: "MemoryNeed | None" = None

    @property
    def total_bytes(self) -> int:
        """On one device."""
        kept = self.first_bytes + sum(self.layer_bytes) + self.last_bytes + len(self.layer_bytes) * self.captured_bytes
        working = kept + max(self.vision_bytes, self.text_bytes)
        return max(working, self.loading.total_bytes) if self.loading else working

    def on_devices(self, count: int) -> "MemoryNeed":
        """With what captured steps hold among the layers' bytes, if there is one device."""
        added = self.captured_bytes if count == 1 else 0
        return replace(self, layer_bytes=tuple(layer + added for layer in self.layer_bytes), captured_bytes=0)


def measure_model(architecture: Any, config: Any, *, is_tied: bool | None = None) -> ModelSize:
    """Build a transformers class on the meta device and count; allocates nothing.

    Args:
        architecture: stock class of a family.
        config: its configuration, with ``text_config`` and ``vision_config``.
        is_tied: whether the output head is the input embedding; None: as the configuration says.
    """
    config = deepcopy(config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    if is_tied is not None:
        config.tie_word_embeddings = is_tied
    with torch.device("meta"):
        model = architecture(config)
    first, layers, last = _count_parts(model)
    text, vision = config.text_config, config.vision_config
    head_dim = int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    num_experts = int(getattr(text, "num_experts_per_tok", 0)) + int(getattr(text, "n_shared_experts", None) or 0)
    merge = getattr(vision, "spatial_merge_size", None) or round(1 / getattr(config, "downsample_ratio", 0.5))
    return ModelSize(
        first=first,
        layers=layers,
        last=last,
        kv_elements=2 * text.num_key_value_heads * head_dim,
        feature_elements=text.hidden_size * (1 + len(getattr(vision, "deepstack_visual_indexes", ()))),
        hidden=text.hidden_size,
        intermediate=_widest(text, num_experts),
        experts_per_token=num_experts,
        num_heads=text.num_attention_heads,
        head_dim=head_dim,
        vocab=text.vocab_size,
        vision_hidden=vision.hidden_size,
        vision_intermediate=_tower_width(vision),
        vision_patches_per_token=merge**2,
        linear=LinearLayers.of_text(text),
        narrow=count_narrow(model, (*first, *layers)),
    )


def _tower_width(vision: Any) -> int:
    """Inner width of a tower's feed-forward; GLM's is called after its output, and "intermediate" is the merger's."""
    if not vision.model_type.startswith("glm4v"):
        return int(vision.intermediate_size)
    return max(int(vision.out_hidden_size), int(vision.intermediate_size) // int(vision.spatial_merge_size) ** 2)


def plan_workload(config: RunConfig, layout: ModelLayout) -> PeakShapes:
    """The largest shapes that a run's settings allow."""
    sampling, scoring = config.sampling, config.scoring
    tokens_per_patch = _largest_patch(layout, min_pixels=sampling.min_pixels, max_pixels=sampling.max_pixels)
    group_patches = math.ceil(sampling.frames_per_group / layout.frames_per_patch)
    group_tokens = group_patches * (tokens_per_patch + _TEXT_TOKENS_PER_PATCH)
    budget, num_groups = config.budget, math.ceil(sampling.max_frames / sampling.frames_per_group)
    return PeakShapes(
        prefix_tokens=max(group_tokens, budget.token_budget) + _TEXT_TOKENS,
        prefix_copies=_PREFIX_COPIES,
        question_batch=scoring.question_batch,
        question_tokens=_QUESTION_TOKENS + max(scoring.response_tokens, config.answering.answer_tokens),
        vision_tokens=min(scoring.encode_patches, group_patches) * tokens_per_patch,
        candidate_tokens=overselected(budget.token_budget, budget.over_select) + num_groups,
    )


def plan_need(
    size: ModelSize, model: ModelConfig, run: RunConfig | None, layout: ModelLayout, *, element_bytes: int, is_gpu: bool
) -> MemoryNeed:
    """Bytes of a model with a run's settings, or before there is a run.

    Args:
        size: of the model.
        model: its settings.
        run: None counts the weights alone.
        layout: of the model.
        element_bytes: of the working type, 2 for bfloat16.
        is_gpu: where fast paths are taken.
    """
    is_fp8, peak = model.quantization == "fp8", plan_workload(run, layout) if run else NO_WORK
    need = estimate_need(size, peak, element_bytes=element_bytes, is_fp8=is_fp8)
    if run and run.sampling.decoder == "nvdec":  # decoded frames lie beside what runs first
        decoding_bytes = run.execution.frame_room_bytes + SESSIONS * SESSION_BYTES
        need = replace(need, first_bytes=need.first_bytes + decoding_bytes)
    if is_fp8:
        need = replace(need, loading=estimate_need(size, NO_WORK, element_bytes=element_bytes))
    if is_gpu and run and model.fusion != "off" and size.linear is None:
        tokens = count_held(peak.prefix_tokens, peak.question_batch, peak.question_tokens)
        need = replace(need, captured_bytes=tokens * size.kv_elements * element_bytes)
    return need


def estimate_need(size: ModelSize, peak: PeakShapes, *, element_bytes: int, is_fp8: bool = False) -> MemoryNeed:
    """Bytes of a model that scores and answers with these shapes.

    Args:
        size: of the model.
        peak: shapes of the run.
        element_bytes: of a weight, 2 for bfloat16.
        is_fp8: with ``model.quantization=fp8``.
    """
    rows = 1 + peak.question_batch  # the prefix, and a copy per question where questions do not share a row
    prefix_copies = rows if size.linear else peak.prefix_copies
    kv_tokens = peak.prefix_tokens * prefix_copies + peak.question_batch * peak.question_tokens
    # features that no question needs go when half of a group's are such: up to twice what is kept
    candidates = 2 * peak.question_batch * peak.candidate_tokens * size.feature_elements * element_bytes
    first, layers, last = (
        [size.weight_bytes(part, element_bytes, is_fp8=is_fp8) for part in parts]
        for parts in (size.first, size.layers, size.last)
    )
    kv_bytes = kv_tokens * size.kv_elements * element_bytes
    state_bytes = size.linear.held_bytes(rows, element_bytes) if size.linear and peak.question_batch else 0
    held = held_by_layer(size.linear, size.layers, keys=kv_bytes, states=state_bytes)
    logits = 3 * peak.question_batch * size.vocab * 4  # float32: logits, their softmax, its logarithm
    return MemoryNeed(
        first_bytes=sum(first) + candidates,
        layer_bytes=tuple(weights + kept for weights, kept in zip(layers, held, strict=True)),
        last_bytes=sum(last) + logits,
        vision_bytes=_vision_bytes(size, peak, element_bytes),
        text_bytes=_text_bytes(size, peak, element_bytes),
        weight_bytes=sum(first) + sum(layers) + sum(last),
    )


def _widest(text: Any, num_experts: int) -> int:
    """Inner width of the feed-forward; of experts those that one token is sent to, the one that all share included."""
    sent = num_experts * getattr(text, "moe_intermediate_size", 0)
    sent += getattr(text, "shared_expert_intermediate_size", 0) if num_experts else 0
    return int(max(getattr(text, "intermediate_size", 0), sent))


def _count_parts(model: Any) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Parameters of each placeable module, before, within and after the decoder layers; 0 for those without any."""
    decoder = model.model.language_model
    parts = {f"model.{name}": module for name, module in model.model.named_children() if module is not decoder}
    parts |= {f"model.{name}": nn.ParameterList([own]) for name, own in model.model.named_parameters(recurse=False)}
    parts |= {f"{DECODER}.{name}": module for name, module in decoder.named_children() if name != "layers"}
    layers = {f"{DECODER}.layers.{index}": layer for index, layer in enumerate(decoder.layers)}
    heads = {name: module for name, module in model.named_children() if module is not model.model}
    seen: set[Any] = set()  # shared weights belong to their first module
    first, within, after = ({name: _count(m, seen) for name, m in part.items()} for part in (parts, layers, heads))
    last = {f"{DECODER}.norm": first.pop(f"{DECODER}.norm")}
    first |= {name: count for name, count in after.items() if not count}
    last |= {name: count for name, count in after.items() if count}
    return first, within, last


def _count(module: Any, seen: set[Any]) -> int:
    new = [parameter for parameter in module.parameters() if parameter not in seen]
    seen.update(new)
    return sum(parameter.numel() for parameter in new)


def _largest_patch(layout: ModelLayout, *, min_pixels: int, max_pixels: int) -> int:
    """Visual tokens of the temporal patch of a large video, over usual aspect ratios, upright ones included."""
    sides = [(1_080 * a, 1_080 * b) for a, b in _ASPECT_RATIOS] + [(1_080 * b, 1_080 * a) for a, b in _ASPECT_RATIOS]
    return max(
        layout.frame_geometry(height, width, min_pixels=min_pixels, max_pixels=max_pixels).tokens_per_patch
        for height, width in sides
    )


def _vision_bytes(size: ModelSize, peak: PeakShapes, element_bytes: int) -> int:
    """Residual and normed input with the gated MLP's three inner tensors, or with queries, keys and values rotated."""
    inner = max(2 * size.vision_hidden + 3 * size.vision_intermediate, 10 * size.vision_hidden)
    return peak.vision_tokens * size.vision_patches_per_token * (inner * element_bytes + _PIXEL_BYTES)


def _text_bytes(size: ModelSize, peak: PeakShapes, element_bytes: int) -> int:
    """One decoder layer over the prefix, or over the questions of a batch with the attention rows beside it."""
    heads_width = size.num_heads * size.head_dim
    sent = 3 * size.experts_per_token * size.hidden  # a token's input and output once per expert, and sorted back
    inner = (2 * size.hidden + max(3 * size.intermediate + sent, 4 * heads_width)) * element_bytes
    query_tokens = peak.question_batch * peak.question_tokens
    num_rows = peak.question_batch if size.linear else 1
    row_tokens = peak.question_tokens if size.linear else query_tokens
    key_tokens = peak.prefix_tokens + row_tokens
    rows = _ROW_COPIES * size.num_heads * peak.question_tokens * key_tokens * 4  # of one question at a time
    repeated_keys = 2 * num_rows * key_tokens * heads_width * element_bytes  # the kernel wants one key per query head
    masks = (MASKS_KEPT + 1) * row_tokens * key_tokens * element_bytes
    linear = size.linear.work_bytes(max(peak.prefix_tokens, query_tokens)) if size.linear else 0
    return max(peak.prefix_tokens * inner, query_tokens * inner + rows + repeated_keys, linear) + masks
