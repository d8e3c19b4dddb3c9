import dataclasses
import hashlib
import json
from typing import get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.settings.config import BudgetConfig, ExecutionConfig, ModelConfig, RunConfig, SamplingConfig
from pipeline.settings.reading import apply_overrides, config_hash, load_config, setting_keys, to_dict
from pipeline.settings.sources import ReadingConfig


def test_every_field_of_the_config_is_a_setting_and_leaf_names_are_unique():
    fields = [
        f"{section}.{field.name}"
        for section, cls in get_type_hints(RunConfig).items()
        if dataclasses.is_dataclass(cls)
        for field in dataclasses.fields(cls)
    ]
    leaves = [key.rpartition(".")[2] for key in setting_keys()]
    assert sorted(setting_keys()) == sorted([*fields, "method"])
    assert len(leaves) == len(set(leaves))


@pytest.mark.parametrize("key", setting_keys())
def test_every_setting_takes_its_own_value_under_either_name(key):
    section, _, leaf = key.rpartition(".")
    value = getattr(getattr(RunConfig(), section) if section else RunConfig(), leaf)
    assert apply_overrides(RunConfig(), {key: value}) == RunConfig()
    assert apply_overrides(RunConfig(), {leaf: value}) == RunConfig()


@pytest.mark.parametrize(
    ("pair", "section", "leaf", "expected"),
    [
        ("budget.token_budget=512", "budget", "token_budget", 512),
        ("token_budget=512", "budget", "token_budget", 512),
        ("tau=2", "budget", "tau", 2.0),  # an integer is a float
        ("stop_entropy=1e-3", "stopping", "stop_entropy", 0.001),  # YAML 1.1 alone reads text here
        ("allow_long_context=true", "answering", "allow_long_context", True),
        ("seek=keyframe", "sampling", "seek", "keyframe"),
        ("revision=1234567", "model", "revision", "1234567"),  # a commit may be all digits
        ("revision=null", "model", "revision", None),
        ("model=org/a=b", "model", "model", "org/a=b"),
        ("model.model=2", "model", "model", "2"),
    ],
)
def test_set_reads_the_value_in_the_type_of_its_setting(pair, section, leaf, expected):
    value = getattr(getattr(load_config(RunConfig(), sets=[pair]), section), leaf)
    assert value == expected
    assert type(value) is type(expected)


def test_method_is_a_setting_without_a_section():
    assert load_config(RunConfig(), sets=["method=uniform"]).method == "uniform"


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("token_budgt=5", r"unknown setting 'token_budgt'; did you mean 'token_budget'"),
        ("budget.token_budgets=5", r"did you mean 'budget\.token_budget'"),
        ("sampling.tau=1", r"unknown setting 'sampling\.tau'; did you mean 'budget\.tau'"),
        ("metod=uniform", r"did you mean 'method'"),
        ("sampling=1", r"'sampling' is a section"),
        ("token_budget", r"key=value, got 'token_budget'"),
        ("token_budget=1.5", r"budget\.token_budget must be a whole number, got 1\.5"),
        ("token_budget=true", r"must be a whole number, got True"),
        ("tau=true", r"budget\.tau must be a finite number, got True"),
        ("tau=.inf", r"must be a finite number, got inf"),
        ("tau=.nan", r"must be a finite number, got nan"),
        ("tau=warm", r"must be a finite number, got 'warm'"),
        pytest.param(f"tau={10**400}", r"must be a finite number", id="too large for a float"),
        ("allow_long_context=1", r"must be true or false, got 1"),
        ("seek=fast", r"sampling\.seek must be one of 'exact', 'keyframe', got 'fast'"),
        ("method=null", r"method must be text \(quote it\), got None"),
        ("tau=-1", r"budget\.tau must be positive, got -1\.0"),  # the section's own check
        ("tau=[", r"--set tau: the value '\[' is not YAML"),
    ],
)
def test_a_wrong_pair_is_refused_with_a_remedy(pair, message):
    with pytest.raises(ValueError, match=message):
        load_config(RunConfig(), sets=[pair])


def test_later_sources_win_and_only_the_result_is_checked(tmp_path):
    file = tmp_path / "run.yaml"
    # snap_tolerance_s 0.25 is too wide for 4 frames per second until --set narrows it
    file.write_text("method: uniform\nsampling: {sample_fps: 4, max_frames: 100}\ntoken_budget: 9\nmodel: tiny\n")
    config = load_config(RunConfig(), yaml_uri=str(file), sets=["snap_tolerance_s=0.1", "max_frames=7", "max_frames=8"])
    assert config == RunConfig(
        method="uniform",
        sampling=SamplingConfig(sample_fps=4.0, max_frames=8, snap_tolerance_s=0.1),
        budget=BudgetConfig(token_budget=9),
        model=ModelConfig(model="tiny"),
    )


def test_fields_that_no_source_names_keep_the_presets_value():
    preset = RunConfig(budget=BudgetConfig(tau=0.5))
    assert load_config(preset, sets=["token_budget=9"]).budget == BudgetConfig(tau=0.5, token_budget=9)


def test_an_empty_file_changes_nothing(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("# nothing yet\n")
    assert load_config(RunConfig(), yaml_uri=str(file)) == RunConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "must hold a mapping of settings, got list"),
        ("a: [\n", "is not YAML"),
        ("sampling:\n", "'sampling' is a section of settings, got None"),
        ("tau: 1\nbudget: {tau: 2}\n", r"'budget\.tau' is given twice, as 1 and 2"),
        ("buget: {tau: 1}\n", "unknown setting 'buget'; did you mean 'budget'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(RunConfig(), yaml_uri=str(file))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.yaml cannot be read \(FileNotFoundError\)"):
        load_config(RunConfig(), yaml_uri=str(tmp_path / "none.yaml"))


def test_the_written_config_reads_back_as_itself(tmp_path):
    config = load_config(RunConfig(), sets=["method=uniform", "tau=1e-3", "revision='12'", "num_scorers=3"])
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(to_dict(config)))
    assert load_config(RunConfig(), yaml_uri=str(file)) == config


def test_the_hash_is_that_of_the_canonical_json_of_what_changes_answers():
    config = RunConfig(model=ModelConfig(model="/a/b", revision="main", dtype="float32"))
    expected = dataclasses.asdict(config)
    expected.pop("execution")
    expected.pop("reading")
    expected.pop("frame_store")
    del expected["budget"]["keep_ratio"], expected["scoring"]["prompt_style"]  # at the values that change nothing
    expected["model"] = {"identity": ["abc"], "dtype": "float32"}
    digest = hashlib.sha256(json.dumps(expected, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert config_hash(config, model_revision="abc") == digest[:16]


@settings(deadline=None, max_examples=50)
@given(
    execution=st.builds(
        ExecutionConfig,
        num_scorers=st.none() | st.integers(1, 99),
        num_decoders=st.integers(1, 99),
        gpus_per_scorer=st.none() | st.floats(0, 1) | st.integers(2, 8).map(float),
        torch_threads=st.integers(1, 64),
        videos_in_flight=st.integers(1, 99),
        frame_buffer_bytes=st.integers(1, 2**40),
        max_attempts=st.integers(1, 9),
    ),
    reading=st.builds(
        ReadingConfig,
        max_file_bytes=st.integers(1, 2**50),
        decode_timeout_s=st.floats(1, 1e6),
        allow_http=st.booleans(),
        cache_dir=st.none() | st.just("/mnt/cache"),
    ),
)
def test_execution_and_reading_settings_never_change_the_hash(execution, reading):
    assert config_hash(RunConfig(execution=execution, reading=reading), model_revision="r") == config_hash(
        RunConfig(), model_revision="r"
    )


@pytest.mark.parametrize(
    "pair",
    [
        "method=uniform",
        "sample_fps=1",
        "max_frames=9",
        "seek=keyframe",
        "resize=model",
        "decoder=pyav",
        "frames_per_group=32",
        "grouping=contiguous",
        "reference_layer=3",
        "question_batch=4",
        "token_budget=9",
        "tau=1",
        "stop_entropy=0.3",
        "positions=compact",
        "dtype=float32",
        "quantization=fp8",
    ],
)
def test_every_other_setting_changes_the_hash(pair):
    changed = load_config(RunConfig(), sets=[pair])
    assert config_hash(changed, model_revision="r") != config_hash(RunConfig(), model_revision="r")


@pytest.mark.parametrize("pair", ["fusion=off", "attention=sdpa"])
def test_ways_to_compute_the_same_leave_the_hash_as_it_is(pair):
    changed = load_config(RunConfig(), sets=[pair])
    assert changed != RunConfig()
    assert config_hash(changed, model_revision="r") == config_hash(RunConfig(), model_revision="r")


def test_a_bare_off_is_no_truth_value_but_the_setting(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model:\n  fusion: off\n")
    assert load_config(RunConfig(), yaml_uri=str(path)).model.fusion == "off"
    assert load_config(RunConfig(), sets=["model.fusion=off"]).model.fusion == "off"
    with pytest.raises(ValueError, match=r"model.attention must be one of 'auto', 'sdpa', got False"):
        load_config(RunConfig(), sets=["attention=off"])


def test_an_unknown_fusion_is_refused():
    with pytest.raises(ValueError, match=r"model.fusion must be 'auto' or 'off', got 'on'"):
        ModelConfig(fusion="on")


def test_the_loaded_revision_stands_for_the_model_however_its_path_is_spelled():
    configs = [RunConfig(model=ModelConfig(model=path)) for path in ("demo", "/mnt/demo", "../demo/")]
    assert len({config_hash(config, model_revision="r") for config in configs}) == 1
    assert len({config_hash(config, model_revision=None) for config in configs}) == 3
    assert config_hash(configs[0], model_revision="r") != config_hash(configs[0], model_revision="s")


def test_a_number_written_as_an_integer_hashes_like_the_float():
    config = RunConfig(budget=BudgetConfig(tau=2))
    assert config_hash(config, model_revision="r") == config_hash(RunConfig(), model_revision="r")


@pytest.mark.parametrize("text", ["off", "'off'", "require", "auto"])
def test_off_is_a_word_where_a_setting_has_it_though_yaml_reads_it_as_false(text):
    assert load_config(RunConfig(), sets=[f"reading.sandbox={text}"]).reading.sandbox == text.strip("'")
    with pytest.raises(ValueError, match=r"sampling.seek must be one of 'exact', 'keyframe', got False"):
        load_config(RunConfig(), sets=["sampling.seek=off"])
