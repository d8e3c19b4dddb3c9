"""Between which versions of transformers the models are tested, and what the versions between call differently."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipeline.models.text_model import cache_argument

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_installed_transformers_lies_within_the_bounds_and_both_ends_are_named():
    listed = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    (wanted,) = (Requirement(line) for line in listed if Requirement(line).name == "transformers")
    assert wanted.specifier.contains(version("transformers"))
    assert {part.operator for part in wanted.specifier} == {">=", "<"}


class Old:
    def forward(self, inputs_embeds=None, past_key_values=None, **kwargs): ...


class New:
    def forward(self, inputs_embeds=None, cache=None, **kwargs): ...


@pytest.mark.parametrize(("module", "name"), [(Old(), "past_key_values"), (New(), "cache")])
def test_a_cache_goes_by_the_name_that_the_installed_version_takes(module, name):
    assert cache_argument(module) == name


def test_every_family_takes_its_cache_without_a_warning(case, features, recwarn):
    case.score(case.prefill(case.adapter, features), case.prompts(case.adapter))
    assert [str(warning.message) for warning in recwarn if "past_key_values" in str(warning.message)] == []
