"""Published folders that cannot be used, through the real command: exit code 1, one line, no worker.

docs/models.md prints the lines; what it prints is what is compared here.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from jobs import run
from pipeline.models import loading
from tests.unit.models.checkpoints.original_internvl import write_original
from tests.unit.models.checkpoints.published_layout import write_published
from tests.unit.models.tiny_models import build_case

ROOT = Path(__file__).parents[4]
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop_vision_template(folder):
    (folder / "chat_template.json").unlink()


def think(folder):
    path = folder / "chat_template.json"
    template = json.loads(path.read_text())["chat_template"]
    edit(path, chat_template=template.replace("assistant\n", "assistant\n<think>\n"))


def cut_second_shard(folder):
    path = folder / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def drop_second_shard(folder):
    (folder / "model-00002-of-00002.safetensors").unlink()


# what is wrong, as docs/models.md calls it -> the fixture, the damage; None: an original InternVL folder
BROKEN = {
    "text-only template": ("qwen2_5_vl-demo", drop_vision_template),
    "thinking template": ("qwen3_vl-small", think),
    "missing quantiser": ("qwen2_5_vl-demo", lambda folder: edit(folder / "config.json", quantization_config=AWQ)),
    "shard cut short": ("qwen3_vl_moe-experts", cut_second_shard),
    "shard missing": ("internvl-qwen2-text", drop_second_shard),
    "original InternVL": ("internvl-qwen2-text", None),
    "unknown family": ("qwen2_5_vl-demo", lambda folder: edit(folder / "config.json", model_type="minicpmv")),
}


@pytest.fixture(params=BROKEN)
def broken(request, tmp_path):
    """What is wrong, and the words of a command over such a folder."""
    name, damage = BROKEN[request.param]
    folder, case = tmp_path / "FOLDER", build_case(name)
    folder.mkdir()
    if damage is None:
        write_original(folder, case.stock)
        case.tokenizer.save_pretrained(folder)
    else:
        write_published(folder, case.stock, case.tokenizer)
        damage(folder)
    manifest = tmp_path / "m.csv"
    manifest.write_text("question_id,video,question\nq,v.mp4,What?\n")
    return request.param, ["--manifest", str(manifest), "--output", str(tmp_path / "out"), "--model", str(folder)]


def documented_lines():
    """What is wrong -> the line, out of the table."""
    rows = [line.split(" | ") for line in (ROOT / "docs" / "models.md").read_text().splitlines()]
    return {row[0].removeprefix("| "): row[1].removesuffix(" |").strip("`") for row in rows if len(row) == 2}


def line_of(printed, folder):
    """The one line of stderr, without the time, the folder's place, sizes and the list of families."""
    (line,) = printed.strip().splitlines()
    line = line.partition(" ERROR ")[2].replace(str(folder), "FOLDER")
    return re.sub(r" \(known here: [a-z0-9_, ]+\)$", "", re.sub(r"\d{4,}(?= bytes|\))", "N", line))


@pytest.mark.parametrize("how", [("--executor", "serial"), ("--executor", "ray"), ("--plan",)], ids=" ".join)
def test_a_broken_folder_ends_the_job_with_the_documented_line(broken, how, tmp_path, capsys, monkeypatch):
    what, words = broken
    monkeypatch.delattr(loading, "_load_weights")
    monkeypatch.setattr(ray, "init", None)
    assert run.main([*words, *how]) == 1
    assert line_of(capsys.readouterr().err, tmp_path / "FOLDER") == documented_lines()[what]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_in_a_process_of_its_own_prints_nothing_else(broken, tmp_path):
    what, words = broken
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "run.py"), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert line_of(done.stderr, tmp_path / "FOLDER") == documented_lines()[what]
    assert not (tmp_path / "out").exists()
