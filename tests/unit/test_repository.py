"""What people expect of a repository: set-up in one line each, files about the project that parse and agree."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from jobs.wiring import version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def setup_commands():
    return [line.strip() for line in read("README.md").splitlines() if line.startswith("    python3 -m venv")]


def test_each_set_up_is_one_line_that_needs_nothing_before_it():
    demo, tests = setup_commands()
    assert demo == "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python jobs/run.py --demo"
    assert tests == "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest"


def test_ci_and_contributors_set_up_as_the_readme_says():
    _, tests = setup_commands()
    assert tests in CI.splitlines()
    assert f"    {tests}" in read("CONTRIBUTING.md").splitlines()


def test_the_console_command_is_what_the_package_says():
    module, _, function = PROJECT["scripts"]["adapttoken"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_version_is_the_same_wherever_it_is_written():
    assert yaml.safe_load(read("CITATION.cff"))["version"] == PROJECT["version"]
    assert f"## [{PROJECT['version']}]" in read("CHANGELOG.md")


def test_an_uninstalled_clone_knows_its_version_and_a_bare_copy_says_that_it_does_not(monkeypatch, tmp_path):
    monkeypatch.setattr(version, "PACKAGE", "no-such-package-of-this-name")
    assert version.project_version() == PROJECT["version"]
    monkeypatch.setattr(version, "_PYPROJECT", tmp_path / "pyproject.toml")
    assert version.project_version() == "unknown"


def test_the_citation_has_what_the_format_requires():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "references"} <= citation.keys()
    (paper,) = citation["references"]
    assert {"authors", "title", "type"} <= paper.keys()
    assert paper["url"] == PROJECT["urls"]["Paper"]
    assert all(author.get("name") for one in (citation, paper) for author in one["authors"])
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_hooks_run_what_ci_runs_with_the_tools_of_the_environment():
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    checks = CI.splitlines()[-1].split(" && ")
    assert [f".venv/bin/{hook['entry']}" for hook in repository["hooks"]] == checks
    assert {(hook["language"], hook["pass_filenames"]) for hook in repository["hooks"]} == {("system", False)}


def test_the_changelog_keeps_to_its_form():
    headings = re.findall(r"^(##+) (.+)$", read("CHANGELOG.md"), flags=re.MULTILINE)
    releases = [text for level, text in headings if level == "##"]
    assert releases[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", text) for text in releases[1:])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {text for level, text in headings if level == "###"} <= kinds


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"])
def test_every_file_that_is_named_is_there(name):
    text = read(name)
    linked = {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}
    named = {path for path in re.findall(r"`((?:pipeline|actors|cluster|jobs|tests|docs)/[\w./]*)`", text)}
    assert [path for path in sorted(linked | named) if not (ROOT / path).exists()] == []


_NAMED = re.compile(r"(?<![\w/.])((?:pipeline|actors|cluster|jobs|tests|docs)/[\w/.-]*\w/?)(?![\w*…-])")


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
    ],
    ids=str,
)
def test_every_file_that_a_page_names_is_there(page):
    named = set(_NAMED.findall(read(page)))
    assert [path for path in sorted(named) if not (ROOT / path).exists() and path not in {"jobs/NAME.py"}] == []
