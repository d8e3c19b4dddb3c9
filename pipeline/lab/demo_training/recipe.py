"""How the demo model is trained, as numbers: steps and rates of the stages, and the optimiser's schedule."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Steps and rates of the thirteen stages; the seed makes the run repeatable on one machine."""

    seed: int = 0
    vision_steps: int = 2_400
    frozen_steps: int = 1_200
    joint_steps: int = 1_400
    polish_steps: int = 1_000
    glimpse_steps: int = 600
    event_steps: int = 900
    practice_steps: int = 450
    drill_steps: int = 800
    rehearsal_steps: int = 2_200
    settle_steps: int = 200
    review_steps: int = 1_500
    finish_steps: int = 600
    encore_steps: int = 2_000
    clips_per_batch: int = 12
    joint_clips_per_batch: int = 8
    num_questions: int = 6
    vision_rate: float = 2e-3
    frozen_rate: float = 1.2e-3
    joint_rate: float = 7e-4
    polish_rate: float = 5e-4
    glimpse_horizon: int = 1_500
    glimpse_rate: float = 1.2e-3
    drill_horizon: int = 2_600
    event_rate: float = 1e-3
    practice_rate: float = 8e-4
    rehearsal_rate: float = 8e-4
    settle_rate: float = 3e-4
    review_rate: float = 8e-4
    finish_rate: float = 4e-4
    encore_rate: float = 8e-4
    event_videos: int = 48
    timing_weight: float = 0.5
    ranking_weight: float = 0.2
    needle_share: float = 0.35
    rehearsal_needle_share: float = 0.25
    alignment_weight: float = 0.3


def scaled(recipe: Recipe, factor: float) -> Recipe:
    """The same recipe with fewer steps, for tests."""
    names = [field.name for field in fields(recipe) if field.name.endswith("_steps")]
    return replace(recipe, **{name: max(1, int(getattr(recipe, name) * factor)) for name in names})


def optimizer_steps(
    parameters: list[nn.Parameter], rate: float, total: int, log: Log, name: str, *, horizon: int | None = None
) -> Iterator[Callable[[Tensor, str], None]]:
    """Yield, ``total`` times, a function that takes one optimiser step: AdamW, warm-up, cosine to a twentieth.

    The cosine ends after ``horizon`` steps; that is more than ``total`` where the next stage goes on at a high rate.
    """
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    started = time.monotonic()
    for index in range(total):
        warm = min(1.0, (index + 1) / 50)
        cosine = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * index / (horizon or total)))
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * cosine

        def step(loss: Tensor, note: str, index: int = index) -> None:
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            if (index + 1) % 50 == 0 or index + 1 == total:
                seconds = time.monotonic() - started
                log(f"{name} step {index + 1}/{total} loss {loss.item():.4f} {note} {seconds:.0f} s")

        yield step
