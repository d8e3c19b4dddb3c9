import dataclasses

import pytest

from jobs.wiring.model_source import load_configured_model, pin_revision
from pipeline.failures import PipelineError
from pipeline.models.loading import describe_model
from pipeline.settings.config import ExecutionConfig, ModelConfig, RunConfig
from pipeline.settings.presets import preset_for
from pipeline.settings.reading import config_hash


def test_workers_load_exactly_what_the_job_has_described(saved):
    config = preset_for(str(saved), num_layers=4, is_demo=True)
    revision = describe_model(config.model).revision
    pinned = pin_revision(config, revision)
    assert pinned == dataclasses.replace(config, model=ModelConfig(model=str(saved), revision=revision))
    assert load_configured_model(pinned).revision == revision
    with pytest.raises(PipelineError, match=f"is at revision {revision} here, not at another"):
        load_configured_model(pin_revision(config, "another"))


def test_pinning_leaves_the_configuration_hash_as_it_is():
    config = RunConfig(model=ModelConfig(revision="main"))
    assert config_hash(pin_revision(config, "c0ffee"), model_revision="c0ffee") == config_hash(
        config, model_revision="c0ffee"
    )


def test_a_worker_without_the_gpus_its_settings_name_does_not_start_on_the_cpu(saved, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    config = RunConfig(model=ModelConfig(model=str(saved)), execution=ExecutionConfig(gpus_per_scorer=2))
    with pytest.raises(PipelineError, match="at most the 0 GPUs this worker sees, got 2"):
        load_configured_model(config)
