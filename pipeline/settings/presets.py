"""One full configuration per model: what differs from the defaults, and why."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pipeline.settings.config import (
    AnsweringConfig,
    BudgetConfig,
    ModelConfig,
    RunConfig,
    SamplingConfig,
    ScoringConfig,
    StoppingConfig,
)

# Reference layer and depth of the checkpoints that were probed: Qwen2.5-VL-7B, InternVL2.5-8B.
_PROBED_LAYER, _PROBED_DEPTH = 20, 28
_PROBED_INTERNVL_LAYER, _PROBED_INTERNVL_DEPTH = 15, 32


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"paper": MappingProxyType({"budget.tau": 2.0, "budget.over_select": 1.1, "budget.token_budget": 7_040})}
)
"""Settings by name: ``paper`` is what AdaptToken's paper says (τ, over-selection), with FlexSelect's budget."""


def preset_for(
    model: str,
    *,
    num_layers: int,
    is_demo: bool,
    family: str = "qwen2_5_vl",
    ranking_layers: Sequence[int] = (),
) -> RunConfig:
    """The configuration a run of this model starts from.

    Example: 28 layers (7B) -> layer 20; 80 layers (72B) -> layer 57. Only the first was probed; for other depths the
    layer is at the same height, which is a guess until a needle probe says better. So is layer 25 of 36 for
    Qwen3-VL-8B, and layer 13 of 28 for InternVL3-8B, at the height of InternVL2.5-8B's.

    Args:
        model: checkpoint as the user names it: ``demo``, a folder or a hub id.
        num_layers: decoder layers of its language model.
        is_demo: whether it is the project's own tiny model, whatever its path.
        family: ``model_type`` of its configuration.
        ranking_layers: those whose attention can rank tokens; the nearest is taken, the later one in a tie. Empty: all.

    Raises:
        ValueError: If the model has no layer, or the demo model fewer than two.
    """
    if num_layers < (2 if is_demo else 1):
        raise ValueError(f"num_layers must be at least {2 if is_demo else 1}, got {num_layers} for model {model!r}")
    if is_demo:
        return _demo_preset(model)
    if family == "internvl":
        return _internvl_preset(model, num_layers)
    layer = _PROBED_LAYER * num_layers // _PROBED_DEPTH
    if ranking_layers:
        layer = min(ranking_layers, key=lambda one: (abs(one - layer), -one))
    return RunConfig(model=ModelConfig(model=model), scoring=ScoringConfig(reference_layer=layer))


def _internvl_preset(model: str, num_layers: int) -> RunConfig:
    """Text stands around every frame, so the final pass lets thinly kept frames share one (docs/models.md)."""
    layer = _PROBED_INTERNVL_LAYER * num_layers // _PROBED_INTERNVL_DEPTH
    return RunConfig(
        model=ModelConfig(model=model),
        scoring=ScoringConfig(reference_layer=layer),
        answering=AnsweringConfig(positions="compact"),
    )


def _demo_preset(model: str) -> RunConfig:
    """Frames of 160 x 120 become 56 x 56; a small budget over many groups needs a τ that separates them.

    Its 16 tokens would all go to the appearance that every group ranks first, so four times as many are bought, and of
    those that look alike within a minute one is kept: objects stay in view for 3 % of a video.
    """
    return RunConfig(
        model=ModelConfig(model=model),
        sampling=SamplingConfig(min_pixels=784, max_pixels=4_704),
        scoring=ScoringConfig(reference_layer=1, response_tokens=16),
        budget=BudgetConfig(token_budget=16, over_select=4.0, tau=0.2, proximity_s=60.0),
        stopping=StoppingConfig(stop_entropy=0.2, confident_groups=2),
        answering=AnsweringConfig(positions="compact"),
    )
