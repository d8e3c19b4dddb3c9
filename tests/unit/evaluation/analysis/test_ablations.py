"""What is ablated, which runs that takes, and how a value is compared with the preset."""

import json

import pytest

from jobs.wiring import ablation_runs
from pipeline.evaluation.analysis.ablation_report import analyse_ablation
from pipeline.evaluation.analysis.ablations import ABLATIONS, AblationRun, settings_of
from pipeline.evaluation.analysis.output import write_analysis
from pipeline.evaluation.scoring.answers import answer_sets
from pipeline.evaluation.scoring.evaluation import evaluate
from pipeline.settings.presets import preset_for
from pipeline.settings.reading import config_hash, load_config
from tests.unit.evaluation.scoring.rows import row, table

PRESET = preset_for("demo", num_layers=4, is_demo=True)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_changes_the_demo_model_s_settings_and_names_each_once(name):
    hashes = []
    for settings in ABLATIONS[name].values.values():
        sets = [f"{key}={value}" for key, value in settings.items()]
        hashes.append(config_hash(load_config(PRESET, sets=sets), model_revision="r"))
    assert len(set(hashes)) == len(hashes) >= 2
    assert config_hash(PRESET, model_revision="r") in hashes  # so that the effect is that of this setting alone


def test_values_replace_those_of_one_setting_only():
    assert settings_of(ABLATIONS["tau"], ["1", "3"]) == {"1": {"budget.tau": "1"}, "3": {"budget.tau": "3"}}
    assert settings_of(ABLATIONS["tau"], None) == ABLATIONS["tau"].values
    with pytest.raises(ValueError, match="ablation 'queries' has fixed values"):
        settings_of(ABLATIONS["queries"], ["text"])


def test_each_setting_is_run_once_in_a_folder_of_its_own(monkeypatch, tmp_path):
    calls = []

    def main(arguments):
        calls.append(arguments)
        return 0

    monkeypatch.setattr(ablation_runs.start, "main", main)
    monkeypatch.setattr(ablation_runs, "read_answers", lambda output: table(row("q1"), row("q2", letter="B")))
    again = [
        ablation_runs.run_ablation(
            ABLATIONS["tau"], values=["1", "3"], manifest="m.parquet", folder=tmp_path, passed_on=["--model", "demo"]
        )
        for _ in range(2)
    ]
    assert [[run.value for run in runs] for runs in again] == [["preset", "1", "3"]] * 2
    assert [run.is_preset for run in again[0]] == [True, False, False]
    assert [call[:4] for call in calls] == [["--manifest", "m.parquet", "--model", "demo"]] * 6
    assert [call[4:-2] for call in calls[:3]] == [[], ["--set", "budget.tau=1"], ["--set", "budget.tau=3"]]
    outputs = [call[-1] for call in calls]
    assert outputs[:3] == outputs[3:]
    assert len(set(outputs)) == 3


def test_a_run_that_does_not_finish_ends_the_ablation(monkeypatch, tmp_path):
    monkeypatch.setattr(ablation_runs.start, "main", lambda arguments: 1)
    with pytest.raises(OSError, match="ended with exit code 1; its output is"):
        ablation_runs.run_ablation(
            ABLATIONS["removal"], values=None, manifest="m.parquet", folder=tmp_path, passed_on=["--model", "demo"]
        )


def test_an_effect_is_the_paired_difference_to_the_preset(tmp_path):
    def scored(*letters):
        rows = [row(f"q{n}", f"v{n // 2}", letter, kind="needle") for n, letter in enumerate(letters)]
        (answers,) = answer_sets(table(*rows), label="run")
        return evaluate(answers)

    runs = [
        AblationRun(value="on", evaluation=scored("A", "A", "A", "B"), is_preset=True),
        AblationRun(value="off", evaluation=scored("A", "B", "A", "B"), is_preset=False),
    ]
    paths = write_analysis(analyse_ablation(ABLATIONS["removal"], runs), tmp_path)
    on, off = json.loads(paths[0].read_text())["values"]
    assert (on["accuracy"], on["difference"], off["accuracy"], off["difference"]) == (0.75, None, 0.5, -0.25)
    assert off["difference_low"] == pytest.approx(-0.25 - 1.959964 * (0.125**0.5 / 2), abs=1e-6)
    assert (off["questions_only_here_right"], off["questions_only_preset_right"]) == (0, 1)
    assert "| on (preset) | 4 | 75.0 |" in paths[1].read_text()
    assert paths[2].read_bytes().startswith(b"\x89PNG")
