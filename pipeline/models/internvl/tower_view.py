"""What InternVL's vision tower knows of its tokens beside their features: its class token's attention, features before.

Shape suffixes: F = frames, L = class token and patches of a frame, C = width of the tower, N = visual tokens
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(kw_only=True, slots=True, eq=False)
class TowerView:
    """Per batch: ``(F, L - 1)`` what the class token pays to each patch, ``(F, L, C)`` what the tower gave."""

    saliency: list[Tensor] = field(default_factory=list)
    hidden: list[Tensor] = field(default_factory=list)


@contextmanager
def watch_tower(tower: Any) -> Iterator[TowerView]:
    """While it is open, each pass of the tower leaves its view."""
    view, attention = TowerView(), tower.encoder.layer[-1].attention

    def look(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        view.saliency.append(_of_class_token(module, args[0] if args else kwargs["hidden_states"]))

    def keep(module: Any, args: tuple[Any, ...], output: Any) -> None:
        view.hidden.append(output.last_hidden_state)

    handles = (attention.register_forward_pre_hook(look, with_kwargs=True), tower.register_forward_hook(keep))
    try:
        yield view
    finally:
        for handle in handles:
            handle.remove()


def per_token(values_FLX: Tensor, *, token_side: int) -> Tensor:
    """``(F, patches, X)`` of square frames -> ``(N, X)`` means over each token's square of patches, row by row."""
    num_frames, num_patches, _ = values_FLX.shape
    merge = round(num_patches**0.5) // token_side
    squares = values_FLX.float().view(num_frames, token_side, merge, token_side, merge, -1)
    return squares.mean(dim=(2, 4)).flatten(0, 2)


def _of_class_token(module: Any, hidden_FLC: Tensor) -> Tensor:
    """Its row of the attention, mean over heads."""
    num_frames, length, _ = hidden_FLC.shape
    query_FC, key_FLC = module.q_norm(module.q_proj(hidden_FLC[:, :1])), module.k_norm(module.k_proj(hidden_FLC))
    query = query_FC.view(num_frames, 1, module.num_heads, -1).transpose(1, 2).float()
    key = key_FLC.view(num_frames, length, module.num_heads, -1).transpose(1, 2).float()
    weights: Tensor = (query @ key.transpose(-1, -2) * module.scale).softmax(dim=-1)
    return weights.mean(dim=1)[:, 0, 1:]
