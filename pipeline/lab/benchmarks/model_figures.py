"""Records of ``model_speed``: what was measured, and what was found."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from pipeline.lab.benchmarks.naive_baseline import NaiveScore
from pipeline.planning.flop_floor import ENCODE, PREFILL, SCORE


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedCase:
    """What is measured.

    Attributes:
        shape: a key of ``SHAPES``.
        question_counts: one measurement each.
        question_tokens: of a question with options, instruction and chat template.
        token_budget: None means the visual tokens of one group (7,040 at 308 x 560 and 64 frames).
        answer_tokens: of the final pass; a trained checkpoint says a letter and the end, random weights do not stop.
        question_batch: None means the preset's; ``encode_patches`` likewise.
        repeats: runs for each number of questions, of which the fastest counts.
        naive_groups: groups that the baseline is timed on; 0 leaves it out.
    """

    shape: str
    num_frames: int
    question_counts: tuple[int, ...] = (1,)
    question_tokens: int = 100
    height: int = 308
    width: int = 560
    frames_per_group: int = 64
    token_budget: int | None = None
    answer_tokens: int = 2
    question_batch: int | None = None
    encode_patches: int | None = None
    repeats: int = 1
    naive_groups: int = 2
    device: str = "cpu"
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFigures:
    """One stage of one run; ``flops`` and ``tokens`` are 0 where a stage is not arithmetic."""

    seconds: float
    tokens: int = 0
    flops: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFigures:
    """One run.

    Attributes:
        wall_s: of the whole run, by a clock of its own.
        peak_bytes: as in ``StageClock``.
        final_tokens: visual tokens of each final pass.
        naive_difference: largest difference in entropy (nats) or attention to the baseline, first group and question.
    """

    num_questions: int
    wall_s: float
    stages: Mapping[str, StageFigures]
    peak_bytes: int
    final_tokens: tuple[int, ...]
    naive_difference: float | None

    @property
    def flops(self) -> int:
        """Of all stages."""
        return sum(stage.flops for stage in self.stages.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class NaiveFigures:
    """The baseline.

    Attributes:
        pass_s: one question and one group, the fastest of ``num_timed``; None where it does not fit, see ``problem``.
        preprocessing: which processor prepared the frames.
        first: scores of the first group for the first question.
    """

    pass_s: float | None
    num_timed: int
    preprocessing: str
    peak_bytes: int
    first: NaiveScore | None
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedFigures:
    """Everything that one measurement found; ``size`` is height and width as the model is shown frames."""

    case: SpeedCase
    num_groups: int
    num_patches: int
    visual_tokens: int
    token_budget: int
    question_batch: int
    parameters: int
    size: tuple[int, int]
    matmul_peak: float
    naive: NaiveFigures | None
    runs: tuple[RunFigures, ...]

    def naive_s(self, run: RunFigures) -> float | None:
        """The baseline's seconds for a run's questions: its passes, and this project's time for what follows them."""
        if self.naive is None or self.naive.pass_s is None:
            return None
        replaced = sum(run.stages[stage].seconds for stage in (ENCODE, PREFILL, SCORE))
        return run.num_questions * self.num_groups * self.naive.pass_s + run.wall_s - replaced
