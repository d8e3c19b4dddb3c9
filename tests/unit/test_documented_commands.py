"""Every command in the README and the docs: its job exists, and its own parser takes the options."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_COMMAND = re.compile(r"python jobs/(\w+)\.py([^`\n|]*)")
_OPEN_END = re.compile(r"…|\[|\.\.\.|@")  # forms of a command, or with a file that the reader has to write first


class ParsedError(Exception):
    """The parser took all of it; nothing is started."""


def commands():
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for job, rest in _COMMAND.findall(text):
            rest = rest.partition(" # ")[0].strip()
            if rest and not _OPEN_END.search(rest):
                found.setdefault((job, rest), page.name)
    return [pytest.param(job, rest, id=f"{page}: {job} {rest}"[:90]) for (job, rest), page in found.items()]


@pytest.fixture
def parse_only(monkeypatch):
    """Options are taken by the real parsers; what would come after them never does."""
    for name in ("parse_args", "parse_known_args"):
        real = getattr(argparse.ArgumentParser, name)

        def parse(self, *args, real=real, **kwargs):
            if getattr(self, "_is_nested", False):
                return real(self, *args, **kwargs)
            argparse.ArgumentParser._is_nested = True
            try:
                real(self, *args, **kwargs)
            finally:
                argparse.ArgumentParser._is_nested = False
            raise ParsedError

        monkeypatch.setattr(argparse.ArgumentParser, name, parse)


@pytest.mark.parametrize(("job", "rest"), commands())
def test_a_documented_command_is_understood_by_its_job(job, rest, parse_only):
    main = importlib.import_module(f"jobs.{job}").main
    with pytest.raises(ParsedError):
        main(shlex.split(rest))


def test_commands_are_found_and_every_job_that_is_named_exists():
    assert len(commands()) > 25
    named = {job for page in PAGES for job, _ in _COMMAND.findall(page.read_text(encoding="utf-8"))}
    assert [job for job in sorted(named) if not (ROOT / "jobs" / f"{job}.py").exists()] == []
