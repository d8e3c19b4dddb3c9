"""Every family's fixture in its published layout through the real job: a video file in, rows out, against stock."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import ray

from jobs import run
from tests.integration.stock_answers import NUM_GROUPS, write_fixture
from tests.unit.models.tiny_models import CASES, REPEATS

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 2e-5
WHOLE, BEST = "adapttoken", "equal-quota"  # all tokens reach the final pass; of each group its best sixth
ON_RAY = "internvl-qwen2-text"  # the one that the default run asks on Ray


@pytest.fixture(scope="module")
def fixture(tmp_path_factory):
    """By name: checkpoint, video, and the stock side."""
    return cache(lambda name: write_fixture(name, tmp_path_factory.mktemp(name)))


def arguments_for(fixture, folder, *, method, executor):
    checkpoint, video, stock = fixture
    rows = [{"question": text, "options": options} for text, options in stock.questions]
    rows = [row | {"question_id": f"q{index}", "video": str(video)} for index, row in enumerate(rows)]
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(rows))
    settings = {
        "sampling.sample_fps": stock.sample_fps,
        "sampling.frames_per_group": stock.frames_per_group,
        "sampling.min_pixels": 1,
        "scoring.reference_layer": stock.clip.layer,
        "scoring.response_tokens": stock.clip.response_tokens,
        "budget.token_budget": stock.clip.num_tokens if method == WHOLE else best_of_each(stock) * NUM_GROUPS,
        "answering.answer_tokens": stock.clip.answer_tokens,
        "answering.positions": "absolute",
    }
    words = ["--manifest", str(manifest), "--output", str(folder / "out"), "--model", str(checkpoint)]
    words += ["--executor", executor, "--method", method]
    return words + [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def best_of_each(stock):
    """Tokens of each group; few, so that evidence has gaps."""
    return stock.clip.num_tokens // 12


def differences(stock, rows, *, method):
    """The largest difference to stock of each kind of number, after everything that has no tolerance."""
    largest = dict.fromkeys(("group entropy", "answer entropy", "option probability", "evidence"), 0.0)

    def differ(kind, ours, expected):
        assert len(ours) == len(expected)
        largest[kind] = max(largest[kind], *(abs(a - b) for a, b in zip(ours, expected, strict=True)))

    assert [row["status"] for row in rows] == ["ok", "ok"]
    for question, row in zip(stock.questions, rows, strict=True):
        assert [group["group_index"] for group in row["groups"]] == list(range(NUM_GROUPS))
        for group in row["groups"]:
            said = stock.respond_group(group["group_index"], question)
            assert group["response"] == said.letter
            differ("group entropy", [group["entropy"]], [said.entropy])

        kept = list(range(stock.clip.num_tokens))
        if method == BEST:
            kept = stock.best_tokens(question, best_of_each(stock))
        assert places(row, stock) == kept
        said = stock.answer(kept, question)
        assert (row["answer"], row["answer_text"]) == (said.letter, said.text)
        differ("answer entropy", [row["answer_entropy"]], [said.entropy])
        differ("option probability", row["option_probabilities"] or [0], said.probabilities or [0])

        shares = stock.shares(kept, question)
        weights = [token["weight"] for token in row["kept_tokens"]]
        assert weights == pytest.approx(shares, rel=2**-8)  # a row holds 8 significant bits of them
        spans, expected = row["evidence"], stock.spans(kept, shares)
        assert [(span["start_s"], span["end_s"], span["num_tokens"]) for span in spans] == [
            (start_s, end_s, count) for start_s, end_s, _, count in expected
        ]
        differ("evidence", [span["weight"] for span in spans], [share for _, _, share, _ in expected])
    return largest


def places(row, stock):
    """Numbers of the kept tokens within the video."""
    geometry = stock.clip.geometry
    return [
        round(token["start_s"] / stock.clip.patch_s) * stock.clip.per_patch
        + token["token_row"] * geometry.token_columns
        + token["token_column"]
        for token in row["kept_tokens"]
    ]


def assert_within(found, label):
    print(label, ", ".join(f"{kind} {value:.1e}" for kind, value in found.items()))  # -rP shows it
    assert {kind: value for kind, value in found.items() if not value <= TOLERANCE} == {}


def in_turn(names):
    """By default one model over the best tokens, the next over the whole video, and so on; repeats only if slow."""
    for index, name in enumerate(names):
        for method in (BEST, WHOLE):
            is_default = name not in REPEATS and method == (BEST, WHOLE)[index % 2]
            yield pytest.param(name, method, marks=[] if is_default else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "method"), [*in_turn(CASES)])
def test_the_job_says_what_stock_says(name, method, fixture, tmp_path, read_rows, monkeypatch):
    monkeypatch.setattr(ray, "init", None)
    assert run.main(arguments_for(fixture(name), tmp_path, method=method, executor="serial")) == 0
    found = differences(fixture(name)[-1], read_rows(tmp_path / "out"), method=method)
    assert_within(found, f"in process, {name}, {method}:")


@pytest.mark.parametrize(
    ("name", "executor"),
    [
        pytest.param(name, executor, marks=[] if (name, executor) == (ON_RAY, "ray") else [pytest.mark.slow])
        for name in CASES
        for executor in ("serial", "ray")
    ],
)
def test_the_command_says_what_stock_says(name, executor, fixture, tmp_path, read_rows):
    command = [sys.executable, str(ROOT / "jobs" / "run.py")]
    command += arguments_for(fixture(name), tmp_path, method=BEST, executor=executor)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "2 answered, 0 failed" in done.stdout
    assert "Traceback" not in done.stderr
    found = differences(fixture(name)[-1], read_rows(tmp_path / "out"), method=BEST)
    assert_within(found, f"{executor}, {name}:")
