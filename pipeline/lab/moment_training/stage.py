"""One stage of training: optimiser steps that can be stopped and taken up again, and checks that end a bad run early.

Every step draws from a generator of its own (seed, stage, step), so a run that was interrupted goes on with the same
numbers as one that was not.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Log = Callable[[str], None]
TakeStep = Callable[[np.random.Generator, float], tuple[Tensor, str]]  # generator, share done -> loss, note
_WARM_UP, _LOG_EVERY = 60, 50
_DECAY, _OUTER = 0.02, ("embed_tokens", "lm_head", "probe")


class BadRunError(Exception):
    """A stage whose measured figure is below what it must be by then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """Steps and rate of one stage.

    Attributes:
        number: of its stream of random numbers.
        checks: by step, name of a figure and the least it must be then.
        rate: of AdamW; Muon takes twice as much, its updates have the root mean square of AdamW's.
        floor: what the learning rate ends at, as a share of ``rate``.
    """

    name: str
    number: int
    steps: int
    rate: float
    checks: Mapping[int, tuple[str, float]]
    floor: float = 0.03
    save_every: int = 100


def run_stage(
    plan: StagePlan,
    modules: Mapping[str, nn.Module],
    parameters: Sequence[tuple[str, nn.Parameter]],
    take_step: TakeStep,
    measure: Callable[[], dict[str, float]],
    *,
    folder: Path,
    seed: int,
    log: Log,
) -> dict[str, float]:
    """Muon for matrices inside the network, AdamW for all else, with warm-up and cosine.

    Goes on from ``folder`` if an earlier call was interrupted.

    Args:
        plan: of the stage.
        modules: everything that is trained or that training needs, by name.
        parameters: those that are trained, by name.
        take_step: gives the loss of one batch.
        measure: figures of the model as it is; asked where the plan has a check, and at the end.
        folder: for the state of the stage.
        seed: of the run.
        log: takes lines.

    Returns:
        The figures at the end.

    Raises:
        BadRunError: If a figure is below its check.
    """
    optimizers = _optimizers(parameters, plan.rate)
    path = folder / f"{plan.name}.pt"
    first = _take_up(path, modules, optimizers)
    if first:
        log(f"{plan.name}: goes on from step {first} of {plan.steps}")
    started, figures = time.monotonic(), {}
    for index in range(first, plan.steps):
        _set_rates(optimizers, plan, index)
        rng = np.random.default_rng([seed, plan.number, index])
        loss, note = take_step(rng, index / plan.steps)
        _follow(loss, optimizers, [parameter for _, parameter in parameters])
        done = index + 1
        if done % _LOG_EVERY == 0 or done == plan.steps:
            seconds = time.monotonic() - started
            log(f"{plan.name} step {done}/{plan.steps} loss {loss.item():.4f} {note} {seconds:.0f} s")
        if done in plan.checks or done == plan.steps:
            figures = measure()
            log(f"{plan.name} step {done}/{plan.steps} figures {figures}")
            _check(plan, done, figures)
        if done % plan.save_every == 0 or done == plan.steps:
            _keep(path, modules, optimizers, done)
    return figures or measure()


def _optimizers(parameters: Sequence[tuple[str, nn.Parameter]], rate: float) -> list[torch.optim.Optimizer]:
    """Muon (orthogonalised momentum, Jordan 2024) as its author means it: not for embeddings, heads and vectors.

    With it the tower's loss after 500 steps is what AdamW has after 800.
    """
    inner = [one for name, one in parameters if one.ndim == 2 and not any(part in name for part in _OUTER)]
    chosen = {id(one) for one in inner}
    others = [one for _, one in parameters if id(one) not in chosen]
    return [
        torch.optim.Muon(inner, lr=2 * rate, weight_decay=_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=_DECAY),
    ]


def _set_rates(optimizers: list[torch.optim.Optimizer], plan: StagePlan, index: int) -> None:
    warm = min(1.0, (index + 1) / _WARM_UP)
    cosine = plan.floor + (1 - plan.floor) * 0.5 * (1 + math.cos(math.pi * index / plan.steps))
    for optimizer, rate in zip(optimizers, (2 * plan.rate, plan.rate), strict=True):
        optimizer.param_groups[0]["lr"] = rate * warm * cosine


def _follow(loss: Tensor, optimizers: list[torch.optim.Optimizer], parameters: list[nn.Parameter]) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    for optimizer in optimizers:
        optimizer.step()


def _check(plan: StagePlan, done: int, figures: dict[str, float]) -> None:
    if done not in plan.checks:
        return
    name, least = plan.checks[done]
    if not figures[name] >= least:
        raise BadRunError(
            f"stage {plan.name}: {name} is {figures[name]:.3f} after {done} steps and must be at least {least}; "
            "another --seed, or more steps, may help"
        )


def _keep(path: Path, modules: Mapping[str, nn.Module], optimizers: list[torch.optim.Optimizer], done: int) -> None:
    state: dict[str, Any] = {name: module.state_dict() for name, module in modules.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    kept = {"modules": state, "optimizers": [optimizer.state_dict() for optimizer in optimizers], "done": done}
    torch.save(kept, unfinished)
    unfinished.replace(path)


def _take_up(path: Path, modules: Mapping[str, nn.Module], optimizers: list[torch.optim.Optimizer]) -> int:
    if not path.exists():
        return 0
    kept = torch.load(path, weights_only=True)
    for name, module in modules.items():
        module.load_state_dict(kept["modules"][name])
    for optimizer, state in zip(optimizers, kept["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    return int(kept["done"])
