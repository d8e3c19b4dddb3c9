"""How the model that knows moments is trained, as numbers."""

from dataclasses import dataclass, replace

from pipeline.lab.moment_training.reader import LossWeights
from pipeline.lab.moment_training.stage import StagePlan


@dataclass(frozen=True, kw_only=True, slots=True)
class MomentRecipe:
    """The seed makes a run repeatable on one machine; ``pool_counts`` are pictures by grid."""

    seed: int = 0
    vision_depth: int = 4
    vision_width: int = 112
    text_layers: int = 6
    pool_counts: tuple[int, ...] = (9_000, 6_000, 3_000, 3_000, 3_000)
    held_out_counts: tuple[int, ...] = (300, 200, 100, 100, 100)
    pictures_per_batch: int = 64
    clips_per_batch: int = 12
    num_questions: int = 6
    variants: int = 2  # how often each picture is encoded for the second stage, jittered each time
    losses: LossWeights = LossWeights()  # noqa: RUF009  # frozen
    look: StagePlan = StagePlan(  # noqa: RUF009  # frozen
        name="look",
        number=1,
        steps=5_000,
        rate=2e-3,
        checks={400: ("color", 0.9), 1_500: ("scene", 0.3), 3_500: ("single", 0.5)},
    )
    read: StagePlan = StagePlan(  # noqa: RUF009  # frozen
        name="read",
        number=2,
        steps=5_000,
        rate=1.2e-3,
        checks={1_500: ("needle", 0.5), 3_000: ("needle", 0.8), 4_500: ("scene", 0.5)},
    )

    @property
    def grid_shares(self) -> tuple[float, ...]:
        """How often each grid is drawn."""
        return tuple(count / sum(self.pool_counts) for count in self.pool_counts)


def scaled(recipe: MomentRecipe, factor: float) -> MomentRecipe:
    """The same with fewer pictures and steps and no checks, for trials and tests."""
    return replace(
        recipe,
        pool_counts=tuple(max(60, round(count * factor)) for count in recipe.pool_counts),
        held_out_counts=tuple(max(30, round(count * factor)) for count in recipe.held_out_counts),
        look=_scaled(recipe.look, factor),
        read=_scaled(recipe.read, factor),
    )


def _scaled(plan: StagePlan, factor: float) -> StagePlan:
    return replace(plan, steps=max(1, round(plan.steps * factor)), checks={})
