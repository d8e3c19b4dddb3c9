"""The wheel with all that it asks for in an environment that has nothing else: as somebody without a clone has it."""

import os
import subprocess
import sys

import pytest

from pipeline.results.finished import read_answers
from tests.unit.jobs.built_wheel import build_wheel, make_foreign_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]
ASK = ("ask", "demo_output/archive/videos/v002.mp4", "What color is the square?", "--model", "demo")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The environment's folder of programs; minutes and gigabytes where the index is far."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    programs = folder / "venv" / "bin"
    subprocess.run([str(programs / "pip"), "install", "--quiet", str(build_wheel(folder))], check=True)
    return programs


def test_demo_ask_query_and_report_run_from_the_folder_of_another_project(programs, tmp_path):
    project = make_foreign_project(tmp_path / "project")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words):
        command = [str(programs / "adapttoken"), *words]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=3_000)
        assert done.returncode == 0, done.stderr[-3_000:]
        return done.stdout

    assert "12 answered, 0 failed" in run("run", "--demo")
    assert "model       demo" in run(*ASK, "--output", "asked")
    assert run("query", "demo_output", "SELECT count(*) AS n FROM answers", "--format", "csv").split() == ["n", "12"]
    assert "report/index.html" in run("report", "demo_output")
    rows = read_answers(str(project / "demo_output")).to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 12
