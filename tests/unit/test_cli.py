"""The command line: options, YAML and --set over the model's preset."""

import pytest

from jobs import cli
from jobs.cli import build_parser, resolve_config
from pipeline.models.loading import ModelIdentity


class Layout:
    frames_per_patch, num_layers, max_positions, feature_width = 2, 4, 4_096, 128


@pytest.fixture
def resolve(monkeypatch):
    """Resolve a command line for the demo model, whose files are not needed."""

    def describe(config, *, storage_options=None):
        return ModelIdentity(name=config.model, revision="r", family="qwen2_5_vl", layout=Layout())

    monkeypatch.setattr(cli, "describe_model", describe)
    return lambda *words: resolve_config(build_parser().parse_args(["--manifest", "m", "--output", "o", *words]))[0]


def test_without_options_the_models_preset_applies(resolve):
    config = resolve()
    assert (config.model.model, config.method, config.budget.tau) == ("demo", "adapttoken", 0.2)
    assert (config.sampling.min_pixels, config.sampling.max_pixels) == (784, 4_704)


def test_settings_are_checked_against_the_preset_not_against_other_models_defaults(resolve):
    assert resolve("--set", "sampling.max_pixels=9408").sampling.max_pixels == 9_408
    with pytest.raises(ValueError, match=r"sampling.max_pixels must be >= sampling.min_pixels, got 100"):
        resolve("--set", "sampling.max_pixels=100")


def test_named_options_win_over_set_and_set_over_the_file(resolve, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("budget: {token_budget: 10, tau: 1.5}\nsampling: {max_frames: 20}\n")
    words = ["--config", str(file), "--set", "token_budget=11", "--set", "max_frames=21", "--max-frames", "22"]
    config = resolve(*words)
    assert (config.budget.token_budget, config.budget.tau, config.sampling.max_frames) == (11, 1.5, 22)


def test_every_shortcut_reaches_its_setting(resolve):
    words = ["--method", "uniform", "--sample-fps", "1", "--frames-per-group", "16", "--token-budget", "9"]
    config = resolve(*words, "--num-scorers", "3", "--model", "demo")
    assert (config.method, config.sampling.sample_fps, config.sampling.frames_per_group) == ("uniform", 1.0, 16)
    assert (config.budget.token_budget, config.execution.num_scorers) == (9, 3)


@pytest.mark.parametrize("words", [[], ["--manifest", "m", "--demo"], ["--manifest", "m", "--method", "best"]])
def test_a_command_line_that_cannot_be_meant_exits_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(words)
    assert ended.value.code == 2
    assert "usage: run.py" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["WARNING", "Warning", "warning"])
def test_the_log_level_is_taken_in_any_case(word):
    assert build_parser().parse_args(["--demo", "--log-level", word]).log_level == "warning"
