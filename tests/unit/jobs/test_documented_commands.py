"""Every command in the README and the docs: its job exists, and its own parser takes the options."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from jobs.wiring.cli import build_parser

ROOT = Path(__file__).resolve().parents[3]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_COMMAND = re.compile(r"python jobs/((?:lab/)?\w+)\.py([^`\n|]*)")
_CONSOLE = re.compile(r"(?:^ {4,}(?:\$ )?|`)adapttoken (?!-)([\w-]+)([^`\n|]*)", re.MULTILINE)
_OPEN_END = re.compile(r"…|\[|\.\.\.|@")  # forms of a command, or with a file that the reader has to write first


class ParsedError(Exception):
    """The parser took all of it; nothing is started."""


def named_commands(text):
    """(job, rest) in either form."""
    as_console = ((job.replace("-", "_"), rest) for job, rest in _CONSOLE.findall(text))
    return [*_COMMAND.findall(text), *as_console]


def commands():
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for job, rest in named_commands(text):
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
    main = importlib.import_module(f"jobs.{job.replace('/', '.')}").main
    with pytest.raises(ParsedError):
        main(shlex.split(rest))


def test_commands_are_found_and_every_job_that_is_named_exists():
    assert len(commands()) > 25
    named = {job for page in PAGES for job, _ in named_commands(page.read_text(encoding="utf-8"))}
    assert [job for job in sorted(named) if not (ROOT / "jobs" / f"{job}.py").exists()] == []


ANSWERING = re.compile(
    r"(jobs/run\.py|jobs/ask\.py|jobs/serve\.py|jobs/analyze\.py ablate|jobs/compare\.py|sbatch cluster/slurm\.sh"
    r"|adapttoken run|adapttoken ask|adapttoken serve|adapttoken analyze ablate|adapttoken compare)\b([^`\n|]*)"
)
DEPLOYED = sorted(path for path in (ROOT / "cluster").iterdir() if path.suffix in (".yaml", ".sh", ".py", ""))
WRONG_COMMANDS = ROOT / "docs" / "journeys.md"  # typed by a test of its own, which sees that none of them answers
EXAMPLES = (
    *(page for page in PAGES if page != WRONG_COMMANDS),
    *(path for path in DEPLOYED if path.is_file()),
    *sorted((ROOT / "jobs").glob("*.py")),
)


def asks_about_videos(job, rest):
    if "--no-ask" in rest:
        return False
    if job.endswith(("ask", "adapttoken serve")) or job.startswith("adapttoken a"):  # also in prose: "`adapttoken ask`"
        return bool(re.search(r"\.\w+\b|--\w", rest))
    return bool(rest.strip(" .")) if job.startswith(("jobs/a", "jobs/s", "sbatch")) else "--manifest" in rest


def answering_commands(text):
    """(job, rest) of each command that answers; a line that begins with an option goes on with the one before."""
    lines = re.sub(r"(?:\\\n\s*|\n\s*(?:- )?(?=--))", " ", text)
    found = ((job, rest.partition(" # ")[0]) for job, rest in ANSWERING.findall(lines))
    return [(job, rest) for job, rest in found if asks_about_videos(job, rest)]


def lacks_a_model(rest):
    """Whether a user who types it has named no model; a script passes on what its caller named."""
    return not re.search(r'--model[=", ]+[\w./:]|"\$@"', rest)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_command_that_answers_names_its_model_and_the_demo_archive_is_asked_of_the_demo_model(path):
    for job, rest in answering_commands(path.read_text(encoding="utf-8")):
        assert not lacks_a_model(rest), f"{path.name}: {job}{rest}"
        assert "demo_output/" not in rest or "--model demo" in rest, f"{path.name}: {job}{rest}"


def test_commands_are_found_in_every_form_that_the_files_write_them_in():
    counts = {path.name: len(answering_commands(path.read_text(encoding="utf-8"))) for path in EXAMPLES}
    wanted = {"ray_cluster.yaml": 1, "ray_job.yaml": 1, "nightly_cronjob.yaml": 1, "launcher.yaml": 1, "slurm.sh": 3}
    assert wanted.items() <= counts.items()
    assert counts["README.md"] >= 4
    assert counts["operations.md"] >= 2
    assert counts["ask.py"] >= 1


@pytest.mark.parametrize(
    "text",
    [
        "python jobs/run.py --manifest m.csv --output o",
        "python jobs/run.py --manifest m.csv \\\n    --output o",
        "args:\n  - jobs/run.py\n  - --manifest=s3://b/m\n  - --output=s3://b/o\n",
        'python jobs/ask.py v.mp4 "How many?"',
        "sbatch cluster/slurm.sh m.csv o",
        "adapttoken run --manifest m.csv --output o",
        'adapttoken ask v.mp4 "How many?"',
        "python jobs/compare.py --manifest m.csv --output o",
    ],
)
def test_a_command_without_a_model_is_seen(text):
    [(_, rest)] = answering_commands(text)
    assert lacks_a_model(rest)


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: path.name)
def test_what_a_file_of_the_cluster_runs_is_understood(path):
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for job, rest in answering_commands(text):
        if job == "jobs/run.py" and not _OPEN_END.search(rest.replace('"$@"', "")):
            words = re.sub(r"\$\w+", "2", rest.replace('"$@"', "--model m").rstrip(" &"))
            options = build_parser().parse_args(shlex.split(words))
            assert options.manifest
            assert options.output


def test_commands_of_the_console_are_found():
    text = (
        "As\n\n    adapttoken run --manifest m.csv --output o\n\nor `adapttoken frames ls store`; adapttoken run is it."
    )
    assert named_commands(text) == [("run", " --manifest m.csv --output o"), ("frames", " ls store")]
