import dataclasses
import json

import pytest

from jobs.lab import probe_layer
from jobs.wiring.cli import build_parser
from jobs.wiring.configuration import resolve_config
from pipeline.lab.layer_probe.hit_rates import LayerRate, LayerRates
from pipeline.lab.layer_probe.report import describe_choice, format_preset, format_rates
from pipeline.settings.config import RunConfig, ScoringConfig
from pipeline.settings.reading import load_config

SMALL = ["--num-videos", "2", "--num-frames", "140", "--questions-per-video", "1", "--groups-per-question", "1"]


def layer(number, hit_rate, behind, behind_error):
    return LayerRate(
        layer=number,
        hit_rate=hit_rate,
        error=0.1,
        top_rate=0.5,
        patch_rate=0.6,
        behind=behind,
        behind_error=behind_error,
    )


RATES = LayerRates(
    layers=(layer(0, 0.2, 0.3, 0.1), layer(1, 0.5, 0.0, 0.0), layer(2, 0.4, 0.1, 0.06)),
    reference_layer=1,
    chance=0.05,
    patch_chance=0.08,
    num_readings=9,
    num_questions=4,
    num_videos=2,
)


def test_the_preset_changes_the_layer_and_how_attention_was_read_and_nothing_else(tmp_path):
    measured = RunConfig(scoring=ScoringConfig(reference_layer=2, query_tokens="last-token", attention_reduce="mean"))
    path = tmp_path / "preset.yaml"
    path.write_text(format_preset(RATES, model_revision="abc", config=measured), encoding="utf-8")
    base = RunConfig(scoring=ScoringConfig(reference_layer=0, response_tokens=7))
    changes = {"reference_layer": 1, "query_tokens": "last-token", "attention_reduce": "mean"}
    expected = dataclasses.replace(base, scoring=dataclasses.replace(base.scoring, **changes))
    assert load_config(base, yaml_uri=str(path)) == expected


def test_a_model_name_cannot_leave_the_presets_comment(tmp_path):
    config = RunConfig(model=dataclasses.replace(RunConfig().model, model="a\nmethod: uniform\n#"))
    path = tmp_path / "preset.yaml"
    path.write_text(format_preset(RATES, model_revision="abc", config=config), encoding="utf-8")
    assert load_config(RunConfig(), yaml_uri=str(path)).method == "adapttoken"


def test_the_table_marks_the_layer_and_the_sentence_names_those_it_cannot_be_told_from():
    table = format_rates(RATES).splitlines()
    assert table[3] == "| **1** | 50.0% ± 10.0% | 50.0% | 60.0% |  |"
    assert table[4] == "| 2 | 40.0% ± 10.0% | 50.0% | 60.0% | 10.0% ± 6.0% |"
    assert table[5] == "| chance | 5.0% | 5.0% | 8.0% |  |"
    assert "within two standard errors of it: layer 2." in describe_choice(RATES)


def test_the_job_measures_the_demo_model_and_writes_a_preset_for_the_main_job(tmp_path, capsys):
    arguments = ["--output", str(tmp_path), "--plot", str(tmp_path / "plots" / "layers.png"), *SMALL]
    assert probe_layer.main([*arguments, "--set", "query_tokens=last-token"]) == 0
    figures = json.loads((tmp_path / "layers.json").read_text())
    assert [rate["layer"] for rate in figures["layers"]] == [0, 1, 2, 3]
    assert figures["layers"][figures["reference_layer"]]["hit_rate"] == max(
        rate["hit_rate"] for rate in figures["layers"]
    )
    assert figures["layers"][figures["reference_layer"]]["hit_rate"] > figures["chance"]
    assert (figures["num_questions"], figures["num_readings"], figures["num_videos"]) == (2, 2, 2)
    assert (tmp_path / "plots" / "layers.png").read_bytes().startswith(b"\x89PNG")
    preset = str(tmp_path / "preset.yaml")
    config, _ = resolve_config(build_parser().parse_args(["--demo", "--config", preset]))
    assert config.scoring.reference_layer == figures["reference_layer"]
    assert config.scoring.query_tokens == "last-token"
    assert f"Layer {figures['reference_layer']} of 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "/no/such/folder"], "is a folder that does not exist"),
        (["--set", "reference_layr=1"], "did you mean 'reference_layer'"),
        (["--num-videos", "1"], "--num-videos must be at least 2, got 1"),
        (["--groups-per-question", "0"], "--groups-per-question must be at least 1, got 0"),
        (["--num-frames", "20"], "num_frames must be at least"),
        (["--set", "max_frames=1"], "no group shows a needle"),
    ],
)
def test_what_cannot_be_measured_is_an_error_with_a_remedy(tmp_path, capsys, arguments, message):
    assert probe_layer.main(["--output", str(tmp_path), *SMALL, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "preset.yaml").exists()
