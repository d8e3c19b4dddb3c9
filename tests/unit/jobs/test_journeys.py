"""The commands of docs/journeys.md print what stands there, exit with an error and load nothing heavy."""

import re
import shlex
from pathlib import Path

import pytest

from tests.unit.jobs.test_light_commands import answers_of

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "journeys.md").read_text(encoding="utf-8")
TYPED = [
    (command, printed)
    for block in re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL)
    for command, printed in re.findall(r"^\$ adapttoken (.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.MULTILINE)
]
_DATE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.MULTILINE)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("typed")
    for name, text in {"m.csv": "question", "n.csv": "question", "typo.csv": "qestion"}.items():
        (folder / name).write_text(f"video,{text}\na.mp4,Why?\n")
    for name in ("sheet.xlsx", "ride.mp4"):
        (folder / name).touch()
    return answers_of([("jobs.main", shlex.split(command)) for command, _ in TYPED], folder)


def test_the_page_has_commands():
    assert len(TYPED) > 20
    assert all(printed for _, printed in TYPED)


@pytest.mark.parametrize(("command", "printed"), TYPED, ids=[command[:60] for command, _ in TYPED])
def test_a_wrong_command_is_told_what_the_page_says_before_anything_heavy_is_loaded(command, printed, answers):
    code, said, complained, loaded = answers[str(("jobs.main", shlex.split(command)))]
    assert _DATE.sub("DATE", said + complained) == printed
    assert (code, loaded) == (2, [])
