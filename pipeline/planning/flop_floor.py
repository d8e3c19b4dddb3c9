"""The arithmetic that a run cannot do without, from a model's configuration: matrix products, two per multiply-add.

Left out: what is small (norms, activations, rotary positions) and what a better kernel would not need (masked pairs of
causal attention, the rows that the attention probe computes a second time).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipeline.models.interface import FrameGeometry

ENCODE, PREFILL, SCORE, FINAL = "encode", "prefill", "score", "final pass"


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageFlops:
    """What the language model costs, over all its layers.

    Attributes:
        per_position: linear layers, for one position.
        per_pair: one query position attending to one key position, all heads.
        per_logits: the logits of one position.
    """

    per_position: int
    per_pair: int
    per_logits: int

    @classmethod
    def from_config(cls, config: Any) -> "LanguageFlops":
        """Read a configuration whose text model has gated feed-forwards or experts, as all families here."""
        text = config.text_config
        hidden, heads = text.hidden_size, text.num_attention_heads
        num_linear = list(getattr(text, "layer_types", None) or ()).count("linear_attention")
        num_full = text.num_hidden_layers - num_linear
        head_size = getattr(text, "head_dim", None) or hidden // heads
        gates = heads if num_linear else 0  # Qwen3.5's outputs of attention are gated, one gate per value
        projections = hidden * head_size * (2 * (heads + text.num_key_value_heads) + gates)
        linear = num_linear * _linear_attention(text) if num_linear else 0
        return cls(
            per_position=2 * (num_full * projections + linear + _feed_forward(text)),
            per_pair=4 * num_full * heads * head_size,
            per_logits=2 * hidden * text.vocab_size,
        )

    def forward(self, positions: int, *, before: int = 0, is_dense: bool = False) -> int:
        """One causal pass without logits.

        Args:
            positions: positions that are computed.
            before: positions in the cache that they attend to as well.
            is_dense: count masked pairs too, as eager attention computes them.
        """
        among = positions * positions if is_dense else positions * (positions + 1) // 2
        return positions * self.per_position + (positions * before + among) * self.per_pair


@dataclass(frozen=True, kw_only=True, slots=True)
class RunWork:
    """How much of everything a run does.

    Attributes:
        num_patches: temporal patches (frames, where a patch is one) of all groups.
        prefix_lengths: per group, positions before the question.
        suffix_length: positions of a question.
        num_questions: each is asked of every group.
        final_lengths: per question, positions of the final pass up to the first response token.
        answer_tokens: response tokens of the final pass.
    """

    num_patches: int
    prefix_lengths: Sequence[int]
    suffix_length: int
    num_questions: int
    final_lengths: Sequence[int]
    answer_tokens: int


def _linear_attention(text: Any) -> int:
    """Multiply-adds of one position in one gated delta net: projections, convolution, and three passes over the state.

    The state is asked for the value it holds, corrected, and asked again with the query.
    """
    heads, key, value = text.linear_num_value_heads, text.linear_key_head_dim, text.linear_value_head_dim
    channels = 2 * text.linear_num_key_heads * key + heads * value
    projections = text.hidden_size * (channels + 2 * heads * value + 2 * heads)
    return int(projections + channels * text.linear_conv_kernel_dim + 3 * heads * key * value)


def _feed_forward(text: Any) -> int:
    """Multiply-adds of one position in all layers; of experts those that it is sent to, and the choice between them."""
    dense, num_layers = 3 * text.hidden_size * getattr(text, "intermediate_size", 0), text.num_hidden_layers
    if not getattr(text, "num_experts_per_tok", 0):
        return int(num_layers * dense)
    if hasattr(text, "n_routed_experts"):  # GLM: some dense layers, then some experts that every position is sent to
        num_sent, num_dense = text.num_experts_per_tok + text.n_shared_experts, text.first_k_dense_replace
        each = text.hidden_size * (text.n_routed_experts + 3 * text.moe_intermediate_size * num_sent)
        return int(num_dense * dense + (num_layers - num_dense) * each)
    sent = 3 * text.hidden_size * text.moe_intermediate_size * text.num_experts_per_tok
    if shared := getattr(text, "shared_expert_intermediate_size", 0):
        sent += text.hidden_size * (3 * shared + 1)
    sparse = text.hidden_size * text.num_experts + sent
    only_dense, step = getattr(text, "mlp_only_layers", ()), getattr(text, "decoder_sparse_step", 1)
    has_experts = [layer not in only_dense and (layer + 1) % step == 0 for layer in range(num_layers)]
    return int(sum(sparse if experts else dense for experts in has_experts))


def count_flops(config: Any, geometry: FrameGeometry, work: RunWork) -> dict[str, int]:
    """FLOPs by stage: ``ENCODE``, ``PREFILL``, ``SCORE`` and ``FINAL``."""
    language = LanguageFlops.from_config(config)
    questions = [language.forward(work.suffix_length, before=prefix) for prefix in work.prefix_lengths]
    finals = [
        language.forward(length + work.answer_tokens - 1) + work.answer_tokens * language.per_logits
        for length in work.final_lengths
    ]
    return {
        ENCODE: work.num_patches * count_vision_flops(config, geometry),
        PREFILL: sum(language.forward(prefix) for prefix in work.prefix_lengths),
        SCORE: work.num_questions * (sum(questions) + len(questions) * language.per_logits),
        FINAL: sum(finals),
    }


def count_vision_flops(config: Any, geometry: FrameGeometry) -> int:
    """Vision tower and merger for one temporal patch of whole frames."""
    return _VISION[config.model_type](config, geometry)


def _qwen2_5_vl(config: Any, geometry: FrameGeometry) -> int:
    """Attention within windows of ``window_size`` pixels but in a few layers; a gated feed-forward."""
    vision = config.vision_config
    hidden, unit = vision.hidden_size, vision.spatial_merge_size**2
    patches = geometry.tokens_per_patch * unit
    side = vision.window_size // vision.patch_size // vision.spatial_merge_size
    windowed = unit**2 * _sum_squares(geometry.token_rows, side) * _sum_squares(geometry.token_columns, side)
    num_full = len(vision.fullatt_block_indexes)
    pairs = num_full * patches**2 + (vision.depth - num_full) * windowed
    linear = 2 * patches * (4 * hidden**2 + 3 * hidden * vision.intermediate_size)
    merger = _merger(geometry.tokens_per_patch, hidden * unit, vision.out_hidden_size)
    return int(_patchify(vision, patches) + vision.depth * linear + 4 * hidden * pairs + merger)


def _qwen3_vl(config: Any, geometry: FrameGeometry) -> int:
    """Attention within a temporal patch; one more merger per deepstack layer."""
    vision = config.vision_config
    hidden, unit = vision.hidden_size, vision.spatial_merge_size**2
    patches = geometry.tokens_per_patch * unit
    layer = 2 * patches * (4 * hidden**2 + 2 * hidden * vision.intermediate_size) + 4 * hidden * patches**2
    merger = _merger(geometry.tokens_per_patch, hidden * unit, vision.out_hidden_size)
    num_mergers = 1 + len(getattr(vision, "deepstack_visual_indexes", ()))
    return int(_patchify(vision, patches) + vision.depth * layer + num_mergers * merger)


def _internvl(config: Any, geometry: FrameGeometry) -> int:
    """A class token beside the patches of a frame; the projector after pixel shuffle."""
    vision, width = config.vision_config, config.text_config.hidden_size
    hidden, unit = vision.hidden_size, round(1 / config.downsample_ratio) ** 2
    patches = geometry.tokens_per_patch * unit
    positions = patches + 1
    embed = 2 * patches * hidden * vision.num_channels * vision.patch_size[0] * vision.patch_size[1]
    layer = 2 * positions * (4 * hidden**2 + 2 * hidden * vision.intermediate_size) + 4 * hidden * positions**2
    projector = 2 * geometry.tokens_per_patch * (hidden * unit * width + width**2)
    return int(embed + vision.num_hidden_layers * layer + projector)


def _glm4v(config: Any, geometry: FrameGeometry) -> int:
    """A gated feed-forward as wide as the output; a convolution over what becomes one token; a gated merger."""
    vision, tokens = config.vision_config, geometry.tokens_per_patch
    hidden, unit, width = vision.hidden_size, vision.spatial_merge_size**2, vision.out_hidden_size
    patches = tokens * unit
    layer = 2 * patches * (4 * hidden**2 + 3 * hidden * width) + 4 * hidden * patches**2
    merger = 2 * tokens * (unit * hidden * width + width**2 + 3 * width * vision.intermediate_size)
    return int(_patchify(vision, patches) + vision.depth * layer + merger)


def _llava_onevision(config: Any, geometry: FrameGeometry) -> int:
    """The projector sees all patches of a frame; they are pooled after it."""
    vision, width = config.vision_config, config.text_config.hidden_size
    hidden, patches = vision.hidden_size, (vision.image_size // vision.patch_size) ** 2
    embed = 2 * patches * hidden * vision.num_channels * vision.patch_size**2
    layer = 2 * patches * (4 * hidden**2 + 2 * hidden * vision.intermediate_size) + 4 * hidden * patches**2
    projector = 2 * patches * (hidden * width + width**2)
    return int(embed + vision.num_hidden_layers * layer + projector)


def _patchify(vision: Any, patches: int) -> int:
    """The first convolution, whose stride is its kernel."""
    values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    return int(2 * patches * vision.hidden_size * values)


def _merger(tokens: int, merged: int, width: int) -> int:
    return 2 * tokens * (merged**2 + merged * width)


def _sum_squares(length: int, step: int) -> int:
    """``length=11 step=4  ->  4² + 4² + 3²``."""
    whole, rest = divmod(length, step)
    return whole * step**2 + rest**2


_VISION: Mapping[str, Callable[[Any, FrameGeometry], int]] = MappingProxyType(
    {
        "qwen2_5_vl": _qwen2_5_vl,
        "qwen3_vl": _qwen3_vl,
        "qwen3_vl_moe": _qwen3_vl,
        "qwen3_5": _qwen3_vl,
        "qwen3_5_moe": _qwen3_vl,
        "internvl": _internvl,
        "glm4v": _glm4v,
        "glm4v_moe": _glm4v,
        "glm46v": _glm4v,
        "llava_onevision": _llava_onevision,
    }
)
