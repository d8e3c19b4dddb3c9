"""The command line: options, YAML and --set over the model's preset."""

import importlib

import pytest

from jobs.wiring import configuration
from jobs.wiring.cli import build_parser
from jobs.wiring.configuration import resolve_config
from jobs.wiring.start import check_at_a_glance
from pipeline.models.loading import ModelIdentity
from pipeline.settings.reading import config_hash


class Layout:
    frames_per_patch, num_layers, max_positions, feature_width = 2, 4, 4_096, 128


@pytest.fixture
def resolve(monkeypatch):
    """Resolve a command line for the demo model, whose files are not needed."""

    def describe(config, *, storage_options=None):
        return ModelIdentity(name=config.model, revision="r", family="qwen2_5_vl", layout=Layout())

    monkeypatch.setattr(configuration, "describe_model", describe)
    words = ("--manifest", "m", "--output", "o", "--model", "demo")
    return lambda *more: resolve_config(build_parser().parse_args([*words, *more]))[0]


def resolve_exactly(*words):
    return resolve_config(build_parser().parse_args(words))[0]


def test_a_users_manifest_is_never_answered_by_a_model_that_nobody_named(resolve, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("model: {dtype: float32}\n")
    for words in ([], ["--set", "tau=0.5"], ["--config", str(file)]):
        with pytest.raises(ValueError, match=r"no model is named: .*--model .*Qwen/Qwen2.5-VL-7B.*--model demo"):
            resolve_exactly("--manifest", "m", "--output", "o", *words)


def test_a_model_may_be_named_by_option_setting_or_file(resolve, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("model: {model: org/a}\n")
    for words in (["--model", "org/a"], ["--set", "model.model=org/a"], ["--config", str(file)]):
        config = resolve_exactly("--manifest", "m", "--output", "o", *words)
        assert config.model.model == "org/a"


def test_the_demo_needs_no_model_and_takes_another(resolve):
    assert resolve_exactly("--demo").model.model == "demo"
    assert resolve_exactly("--demo", "--model", "org/a").model.model == "org/a"


def test_naming_the_demo_model_gives_the_hash_that_leaving_it_out_gave(resolve):
    assert config_hash(resolve(), model_revision="r") == config_hash(resolve_exactly("--demo"), model_revision="r")


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("run", ["--manifest", "m.csv", "--output", "OUT"]),
        ("run", ["--manifest", "m.csv", "--output", "OUT", "--plan"]),
        ("ask", ["v.mp4", "How many riders are there?", "--output", "OUT"]),
        ("analyze", ["ablate", "tau", "--manifest", "m.csv", "--output", "OUT"]),
    ],
)
def test_a_job_without_a_model_exits_2_with_one_line_and_leaves_nothing(job, words, tmp_path, capsys):
    output = tmp_path / "out"
    main = importlib.import_module(f"jobs.{job}").main
    assert main([str(output) if word == "OUT" else word for word in words]) == 2
    printed = capsys.readouterr()
    [line] = (printed.out + printed.err).splitlines()
    assert "no model is named: add --model" in line
    assert not output.exists()


def test_the_demo_models_preset_applies(resolve):
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
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("run.py: error: ")
    assert line.endswith("(--help lists the options)")


@pytest.mark.parametrize("word", ["WARNING", "Warning", "warning"])
def test_the_log_level_is_taken_in_any_case(word):
    assert build_parser().parse_args(["--demo", "--log-level", word]).log_level == "warning"


def test_the_demo_needs_no_manifest_to_be_looked_at():
    check_at_a_glance(build_parser().parse_args(["--demo", "--output", "o"]))
