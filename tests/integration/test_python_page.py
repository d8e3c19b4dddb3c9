"""The code of docs/python.md, block by block, on a video of the demo archive."""

import re
from pathlib import Path

import pytest

from pipeline.demo.archive import ArchiveSpec, write_archive

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    write_archive(tmp_path, ArchiveSpec(num_frames=(512,), questions_per_video=1, seed=3))
    (tmp_path / "videos" / "v000.mp4").rename(tmp_path / "film.mp4")
    monkeypatch.chdir(tmp_path)
    known = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, "docs/python.md", "exec"), known)
    (row,) = known["table"].to_pylist()
    assert (row["status"], row["site"], row["video"]) == ("ok", "north", str(tmp_path / "film.mp4"))
    assert known["found"].answer in "AB"
    choice = known["choice"]
    assert choice.answer in "ABCD"
    assert sum(choice.final.option_probabilities) == pytest.approx(1)
    assert f"{len(choice.scores)} of 8 groups" in capsys.readouterr().out
    assert sum(choice.final.kept.values()) <= 32
