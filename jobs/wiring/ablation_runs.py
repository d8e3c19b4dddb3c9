"""Runs the main job once for every value of an ablation; what an earlier call finished is kept. Wiring only."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs.wiring import start
from jobs.wiring.cli import build_parser
from jobs.wiring.configuration import resolve_config
from jobs.wiring.exit_codes import EXIT_FAILURES, EXIT_OK
from pipeline.evaluation.analysis.ablations import PRESET, Ablation, AblationRun, settings_of
from pipeline.evaluation.scoring.answers import answer_sets
from pipeline.evaluation.scoring.evaluation import Evaluation, evaluate
from pipeline.results.finished import read_answers
from pipeline.settings.reading import config_hash


def run_ablation(
    ablation: Ablation, *, values: Sequence[str] | None, manifest: str, folder: Path, passed_on: Sequence[str]
) -> list[AblationRun]:
    """Answer and score every value, and the preset where no value equals it.

    Settings that come to the same are one run, in a folder named by their hash: ``folder/runs/HASH``.

    Raises:
        ValueError: A value cannot be set, or the answers cannot be scored.
        OSError: A run ended without finishing.
    """
    base = ["--manifest", manifest, *passed_on]
    preset = _hash_of(base)
    hashes = {label: _hash_of([*base, *_sets(sets)]) for label, sets in settings_of(ablation, values).items()}
    arguments = {label: _sets(sets) for label, sets in settings_of(ablation, values).items()}
    if preset not in hashes.values():
        hashes, arguments = {PRESET: preset, **hashes}, {PRESET: [], **arguments}
    return [
        AblationRun(
            value=label,
            evaluation=_answer([*base, *arguments[label]], folder / "runs" / found, label=label),
            is_preset=found == preset,
        )
        for label, found in hashes.items()
    ]


def _sets(settings: Mapping[str, object]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def _hash_of(arguments: Sequence[str]) -> str:
    config, identity = resolve_config(build_parser().parse_args([*arguments, "--output", "unused"]))
    return config_hash(config, model_revision=identity.revision)


def _answer(arguments: Sequence[str], output: Path, *, label: str) -> Evaluation:
    code = start.main([*arguments, "--output", str(output)])
    if code not in (EXIT_OK, EXIT_FAILURES):
        raise OSError(f"the run for {label!r} ended with exit code {code}; its output is {output}")
    (answers,) = answer_sets(read_answers(str(output)), label=label)
    return evaluate(answers)
