"""The example of docs/methods.md, run as it stands there."""

import re
from pathlib import Path

import numpy as np

from pipeline.manifest.questions import Question
from pipeline.method.selectors import registry
from pipeline.models.interface import FrameGeometry
from pipeline.passes.group_pass import score_group
from pipeline.passes.records import GroupInput
from pipeline.settings.config import BudgetConfig, RunConfig
from tests.unit.models.tiny_models import build_case

PAGE = Path(__file__).resolve().parents[3] / "docs" / "methods.md"


def test_the_documented_example_is_a_selector_that_ranks_a_group(monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    names: dict[str, object] = {}
    exec(code, names)
    monkeypatch.setitem(registry.SELECTORS, "longest", names["LongestTokens"]())
    case = build_case("qwen2_5_vl-demo")
    question = Question(question_id="q", video="v", text="What?", options=("a", "b"), row_index=0)
    group = GroupInput(
        group_index=0,
        geometry=FrameGeometry(
            height=case.geometry.height,
            width=case.geometry.width,
            token_rows=case.geometry.token_rows,
            token_columns=case.geometry.token_columns,
        ),
        patches=np.arange(case.num_patches),
        questions=(question,),
        batches=((0,),),
        num_patches=case.num_patches,
    )
    config = RunConfig(method="longest", budget=BudgetConfig(token_budget=4))
    scored = score_group(case.adapter, case.frames, group, config)
    lengths = case.encode(case.adapter).norm(dim=1).numpy()
    assert scored.candidates.ranked[0].tolist() == np.argsort(-lengths, kind="stable").tolist()
    assert not scored.was_prefilled
    (sold,) = registry.get_selector("longest").allocate(np.zeros(1), np.array([len(lengths)]), config.budget)
    assert sold == 4
