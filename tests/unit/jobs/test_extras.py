"""What is not installed is one line with the command, before any work."""

import importlib.util
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from jobs.analyze import main as analyze
from jobs.run import main as run
from jobs.wiring.extras import EXTRAS, check_extra
from pipeline.stores import STORES

PROJECT = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture
def hidden(monkeypatch):
    """Lets packages seem not to be installed."""
    find = importlib.util.find_spec

    def hide(*names):
        def find_others(name, *rest):
            return None if name in names else find(name, *rest)

        for module in ("jobs.wiring.extras", "pipeline.stores"):
            monkeypatch.setattr(f"{module}.find_spec", find_others)

    return hide


@pytest.mark.parametrize("name", EXTRAS)
def test_every_extra_is_one_of_the_package_and_installs_what_is_looked_for(name, hidden):
    listed = PROJECT["project"]["optional-dependencies"][name]
    installs = {"mlflow": "mlflow-skinny", "otel": "opentelemetry-exporter-otlp-proto-http"}.get(name, EXTRAS[name])
    assert [Requirement(line).name for line in listed] == [installs]
    hidden(EXTRAS[name])
    with pytest.raises(ValueError, match=rf"{EXTRAS[name]} is not installed: pip install 'adapttoken-ray\[{name}\]'"):
        check_extra(name)


def test_stores_and_extras_agree():
    assert {store.extra: store.package for store in STORES.values() if store.extra} == {
        name: EXTRAS[name] for name in ("gcs", "azure")
    }


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--manifest gs://b/m.csv --output o", "gs:// needs the package gcsfs: pip install 'adapttoken-ray[gcs]'"),
        ("--manifest m.csv --output az://c/o", "az:// needs the package adlfs: pip install 'adapttoken-ray[azure]'"),
        ("--manifest m.csv --output o --frame-store gs://b/f", "gs:// needs the package gcsfs"),
    ],
)
def test_an_address_of_a_store_without_its_client_is_refused(words, line, hidden, capsys):
    hidden("gcsfs", "adlfs")
    assert run([*words.split(), "--model", "demo"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


def test_pictures_without_their_library_are_refused_before_any_file_is_read(hidden, capsys, tmp_path):
    hidden("matplotlib")
    assert analyze(["frames", str(tmp_path / "none"), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "error: matplotlib is not installed: pip install 'adapttoken-ray[plots]'\n"
    assert not (tmp_path / "out").exists()
