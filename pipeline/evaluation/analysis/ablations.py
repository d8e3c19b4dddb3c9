"""Which settings are ablated, with which values, and how their runs are compared with the preset's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.evaluation.scoring.evaluation import Evaluation
from pipeline.evaluation.scoring.paired import Comparison, compare_runs


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """One setting, or a few that go together.

    Attributes:
        values: label -> settings as ``--set`` takes them; those of the demo model where they depend on a model.
        takes_values: the one setting that ``--values`` replaces the list of; None where the values are fixed.
    """

    name: str
    question: str
    values: Mapping[str, Mapping[str, object]]
    takes_values: str | None = None


def _of_one(name: str, question: str, setting: str, values: Sequence[object]) -> Ablation:
    settings = {f"{value}": {setting: value} for value in values}
    return Ablation(name=name, question=question, values=settings, takes_values=setting)


_QUERIES = {
    f"{queries}, {reduce}": {"scoring.query_tokens": queries, "scoring.attention_reduce": reduce}
    for queries in ("text", "last-token")
    for reduce in ("max", "mean")
}
_ENTROPIES = {
    "mean of the least certain 10 %": {"scoring.certainty_share": 0.1, "scoring.entropy_over": "vocabulary"},
    "mean of all tokens": {"scoring.certainty_share": 1.0, "scoring.entropy_over": "vocabulary"},
    "largest token": {"scoring.certainty_share": 1e-6, "scoring.entropy_over": "vocabulary"},
    "over the options' letters": {"scoring.certainty_share": 0.1, "scoring.entropy_over": "options"},
}
_ALL = (
    _of_one("tau", "temperature that shares the budget out, nats", "budget.tau", (0.05, 0.2, 0.5, 2.0)),
    _of_one("budget", "tokens in the final pass", "budget.token_budget", (2, 4, 8, 16, 32, 64)),
    _of_one("frames-per-group", "sampled frames per group", "sampling.frames_per_group", (16, 32, 64, 128)),
    _of_one("reference-layer", "layer whose attention ranks", "scoring.reference_layer", (0, 1, 2, 3)),
    Ablation(name="queries", question="whose attention ranks, and how it is reduced", values=_QUERIES),
    Ablation(name="entropy", question="what a group's entropy is", values=_ENTROPIES),
    _of_one("grouping", "which patches form a group", "sampling.grouping", ("interleaved", "contiguous")),
    Ablation(
        name="removal",
        question="over-selection and removal of redundant tokens",
        values={
            "on (4.0)": {"budget.over_select": 4.0},
            "on (1.1)": {"budget.over_select": 1.1},
            "off (1.0)": {"budget.over_select": 1.0},
        },
    ),
    _of_one("positions", "positions in the final pass", "answering.positions", ("absolute", "compact", "patch-index")),
)
ABLATIONS: Mapping[str, Ablation] = {ablation.name: ablation for ablation in _ALL}

PRESET = "preset"
"""The value of a run whose settings are those of the preset, where no value of the ablation says so."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AblationRun:
    """The scored answers under one value; ``is_preset`` where the settings are those of the preset."""

    value: str
    evaluation: Evaluation
    is_preset: bool
    effect: Comparison | None = None

    @property
    def label(self) -> str:
        """The value, marked where it is the preset's."""
        return f"{self.value} (preset)" if self.is_preset and self.value != PRESET else self.value


def compare_with_preset(runs: Sequence[AblationRun]) -> list[AblationRun]:
    """Each run beside the preset's, paired by question; the preset itself has no effect."""
    preset = next(run for run in runs if run.is_preset)
    return [run if run.is_preset else _compared(preset, run) for run in runs]


def _compared(preset: AblationRun, run: AblationRun) -> AblationRun:
    names = (preset.value, run.value)
    return replace(run, effect=compare_runs(preset.evaluation.judged, run.evaluation.judged, names=names))


def settings_of(ablation: Ablation, values: Sequence[str] | None) -> Mapping[str, Mapping[str, object]]:
    """Label -> settings; ``values`` replace the list where it is of one setting.

    Raises:
        ValueError: Values for an ablation of several settings.
    """
    if values is None:
        return ablation.values
    if ablation.takes_values is None:
        raise ValueError(
            f"ablation {ablation.name!r} has fixed values ({', '.join(ablation.values)}): leave out --values"
        )
    return {value: {ablation.takes_values: value} for value in values}
