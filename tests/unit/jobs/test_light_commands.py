"""Every command answers ``--help``, ``--version`` and a wrong command line before anything heavy is loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.main import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "transformers", "ray")
SCRIPTS = {
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
    for path in (ROOT / "jobs").rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
}
PRODUCT = {name for name in SCRIPTS if name.count(".") == 1 and name != "jobs.main"}
_PROGRAM = """
import contextlib, importlib, io, json, sys
answers = []
for name, words in json.loads(sys.stdin.read()):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = importlib.import_module(name).main(words)
        except SystemExit as ended:
            code = ended.code or 0
    loaded = [heavy for heavy in {heavy} if heavy in sys.modules]
    answers.append([code, out.getvalue(), err.getvalue(), loaded])
print(json.dumps(answers))
""".replace("{heavy}", repr(HEAVY))


def answers_of(commands, folder):
    """What each (module, words) answers, all in one process: exit code, both outputs, heavy modules loaded so far."""
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input=json.dumps(commands),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(map(str, commands), json.loads(ended.stdout), strict=True))


def test_scripts_are_found():
    assert {"jobs.run", "jobs.lab.bench", "jobs.main"} <= SCRIPTS
    assert len(SCRIPTS) > 20


def test_help_of_every_command_loads_nothing_heavy(tmp_path):
    answers = answers_of([(name, ["--help"]) for name in sorted(SCRIPTS)], tmp_path)
    for command, (code, said, complained, loaded) in answers.items():
        assert (code, complained, loaded) == (0, "", []), command
        assert said.startswith("usage: "), command


def test_the_version_is_the_same_in_every_form(tmp_path):
    answers = answers_of([(name, ["--version"]) for name in sorted(PRODUCT | {"jobs.main"})], tmp_path)
    assert {(code, loaded == []) for code, _, _, loaded in answers.values()} == {(0, True)}
    (said,) = {said for _, said, _, _ in answers.values()}
    assert said.startswith("adapttoken-ray ")


WRONG = [
    (
        "jobs.run",
        "--manifets x --output o --model demo",
        "run.py: error: unknown option --manifets; did you mean --manifest?",
    ),
    ("jobs.run", "--manifest x", "run.py: error: --manifest needs --output"),
    ("jobs.run", "--manifest x --output o", "no model is named: add --model"),
    ("jobs.run", "--manifest none.csv --output o --model demo", "none.csv cannot be used:\n  there is no such file"),
    ("jobs.run", "--manifest x --output o --model demo --set taau=1", "unknown setting 'taau'; did you mean 'tau'?"),
    ("jobs.run", "--demo --no-such-thing-at-all", "run.py: error: unknown option --no-such-thing-at-all ("),
    (
        "jobs.ask",
        "v.mp4 Why? --optoins a b --model demo",
        "ask.py: error: unknown option --optoins; did you mean --options?",
    ),
    ("jobs.ask", "v.mp4 Why? --metod uniform", "ask.py: error: unknown option --metod; did you mean --method?"),
    ("jobs.ask", "--method=uniform", "ask.py: error: the following arguments are required: video"),
    ("jobs.ask", "v.mp4 --model demo", "ask.py: error: no question: give one behind the video, in quotes, or a line"),
    ("jobs.ask", "v.mp4 Why?", "no model is named: add --model"),
    ("jobs.analyze", "frames --ouput d r", "analyze.py frames: error: unknown option --ouput; did you mean --output?"),
    ("jobs.analyze", "frames --output d r --model m", "analyze.py: error: unknown option --model ("),
    (
        "jobs.analyze",
        "ablate tau --manifest m --output d --mod m --vlues 1",
        "analyze.py ablate: error: unknown option --vlues; did you mean --values?",
    ),
    ("jobs.analyze", "ablate tau --manifest m --output d", "no model is named: add --model"),
    ("jobs.analyze", "ablate tau --manifest none.csv --output d --model demo", "none.csv cannot be used"),
    ("jobs.query", "o --fromat json", "query.py: error: unknown option --fromat; did you mean --format?"),
    (
        "jobs.run",
        "--demo --method adaptoken",
        "--method: 'adaptoken' is none of its values; did you mean 'adapttoken'?",
    ),
    ("jobs.run", "--demo --method adapttoken_lite", "did you mean 'adapttoken-lite'?"),
    ("jobs.run", "--demo --executor seriel", "--executor: 'seriel' is none of its values; did you mean 'serial'?"),
    ("jobs.run", "--demo --executor spark", "--executor: 'spark' is none of its values: ray, serial ("),
    ("jobs.run", "--demo --log-level warn", "--log-level: 'warn' is none of its values; did you mean 'warning'?"),
    ("jobs.run", "--demo --set sampling.max_pixls=9", "'sampling.max_pixls'; did you mean 'sampling.max_pixels'?"),
    ("jobs.run", "--demo --set sampling.decoder=pyva", "got 'pyva'; did you mean 'pyav'?"),
    ("jobs.run", "--demo --set method=unifrom", "got 'unifrom'; did you mean 'uniform'?"),
    ("jobs.ask", "v.mp4 Why? --model demo --method unifrom", "did you mean 'uniform'?"),
    ("jobs.analyze", "ablat tau", "ANALYSIS: 'ablat' is none of its values; did you mean 'ablate'?"),
    ("jobs.frames", "lst x", "'lst' is none of its values; did you mean 'ls'?"),
    ("jobs.main", "rnu --demo", "adapttoken: error: unknown command 'rnu'; did you mean 'run'?"),
    ("jobs.main", "import_benchmark lvbench", "did you mean 'import-benchmark'?"),
    ("jobs.main", "xyzzy", "unknown command 'xyzzy'; one of run, ask, report"),
    ("jobs.main", "run --manifets x", "adapttoken run: error: unknown option --manifets; did you mean --manifest?"),
    ("jobs.main", "ask v.mp4 Why? --modle x", "adapttoken ask: error: unknown option --modle; did you mean --model?"),
]


@pytest.fixture(scope="module")
def wrong_answers(tmp_path_factory):
    return answers_of([(name, words.split()) for name, words, _ in WRONG], tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize(("name", "words", "expected"), WRONG)
def test_what_is_wrong_with_a_command_is_said_before_anything_heavy_is_loaded(name, words, expected, wrong_answers):
    code, _, complained, loaded = wrong_answers[str((name, words.split()))]
    assert (code, loaded) == (2, [])
    assert expected in complained
    assert len(complained.splitlines()) == (2 if "cannot be used" in expected else 1)


def test_every_command_of_a_user_is_a_subcommand_and_named_in_its_own_form(tmp_path):
    assert {f"jobs.{name.replace('-', '_')}" for name in COMMANDS} == PRODUCT
    scripts = answers_of([(f"jobs.{name.replace('-', '_')}", ["--help"]) for name in COMMANDS], tmp_path)
    console = answers_of([("jobs.main", [name, "--help"]) for name in COMMANDS], tmp_path)
    for name, (_, as_script, _, _), (_, as_console, _, _) in zip(
        COMMANDS, scripts.values(), console.values(), strict=True
    ):
        assert as_script.startswith(f"usage: {name.replace('-', '_')}.py ")
        assert as_console.startswith(f"usage: adapttoken {name} ")
        assert "python jobs/" not in as_console


def test_the_commands_are_listed_with_a_line_each(tmp_path):
    (said,) = (said for _, said, _, _ in answers_of([("jobs.main", ["--help"])], tmp_path).values())
    (same,) = (said for _, said, _, _ in answers_of([("jobs.main", [])], tmp_path).values())
    assert said == same
    for name, purpose in COMMANDS.items():
        assert any(line.split(None, 1) == [name, purpose] for line in said.splitlines())
    assert max(map(len, said.splitlines())) <= 100
