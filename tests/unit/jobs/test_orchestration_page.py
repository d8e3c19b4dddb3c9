"""The snippets of docs/orchestration.md: they compile, and what they run is what this project understands."""

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest

import adapttoken
from jobs.wiring.cli import build_parser

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "orchestration.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["airflow", "prefect", "dagster"])
def test_a_snippet_compiles_and_its_command_is_understood(block):
    tree = ast.parse(block)
    compile(tree, "docs/orchestration.md", "exec")
    commands = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "COMMAND":
            text = eval(compile(ast.Expression(node.value), "page", "eval"), {"OUTPUT": "/data/answers"})
            words = shlex.split(text)
            assert words[:2] == ["adapttoken", "run"]
            assert build_parser().parse_args(words[2:]).model
            commands.append(words)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "adapttoken.run":
            given = {keyword.arg for keyword in node.keywords}
            assert given <= inspect.signature(adapttoken.run).parameters.keys()
            commands.append(given)
    assert len(commands) == 1
