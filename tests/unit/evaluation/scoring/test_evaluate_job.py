"""``jobs/evaluate.py`` on result files: several runs, a manifest as truth, what is written, what is refused."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import evaluate
from pipeline.results.schema import ANSWERS_SCHEMA
from tests.unit.evaluation.scoring.rows import row, table


@pytest.fixture
def write_run(tmp_path):
    """Result files as a run leaves them; columns that do not matter here are null."""

    def write(name, *rows):
        folder = tmp_path / name / "answers"
        folder.mkdir(parents=True)
        keyed = [item | {"question_key": f"{name}-{item['config_hash']}-{item['question_id']}"} for item in rows]
        own = table(*(item | {"evidence": None} for item in keyed))
        extra = [name for name in own.column_names if name not in ANSWERS_SCHEMA.names]
        columns = {
            field.name: own.column(field.name).cast(field.type)
            if field.name in own.column_names
            else pa.nulls(len(rows), field.type)
            for field in ANSWERS_SCHEMA
        }
        pq.write_table(pa.table(columns | {name: own.column(name) for name in extra}), folder / "part-0.parquet")
        return str(tmp_path / name)

    return write


def letters(text, **others):
    shared = {"benchmark": "mlvu-test", "task_type": "ego"} | others
    return [row(f"q{i}", f"v{i}", letter, source_id=f"AR_{i}", **shared) for i, letter in enumerate(text)]


def test_runs_are_compared_with_the_first_and_everything_is_written(write_run, tmp_path, capsys):
    runs = [
        write_run("full", *letters("AAAB")),
        write_run("lite", *letters("ABAA")),
        write_run("top", *letters("AAAA")),
    ]
    assert evaluate.main([*runs, "--scorer", "strict", "--output", str(tmp_path / "scores")]) == 0
    printed = capsys.readouterr().out
    assert "MLVU test: accuracy, scorer strict" in printed
    report = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    assert [(item["run"], item["overall"]["num_right"]) for item in report["evaluations"]] == [
        ("full", 3),
        ("lite", 3),
        ("top", 4),
    ]
    assert [(item["baseline"], item["other"], item["difference"]) for item in report["comparisons"]] == [
        ("full", "lite", 0.0),
        ("full", "top", 0.25),
    ]
    assert "| top | full | 4 | +25.0 |" in (tmp_path / "scores" / "evaluation.md").read_text()


def test_a_manifest_gives_truth_to_a_run_that_was_made_without(write_run, tmp_path):
    rows = [{name: value for name, value in item.items() if name not in ("expected", "benchmark", "task_type")}
            for item in letters("ABA")]  # fmt: skip
    (tmp_path / "manifest.jsonl").write_text(
        "".join(
            json.dumps(
                {"question_id": f"q{i}", "video": f"v{i}.mp4", "question": "Which?", "options": ["x", "y"]}
                | {"expected": "A", "benchmark": "mlvu-dev", "task_type": "ego"}
            )
            + "\n"
            for i in (1, 2, 3)
        )
    )
    arguments = [write_run("old", *rows), "--manifest", str(tmp_path / "manifest.jsonl"), "--output", str(tmp_path)]
    assert evaluate.main(arguments) == 0
    (found,) = json.loads((tmp_path / "evaluation.json").read_text())["evaluations"]
    # of q1 and q2 one is right, q3 was never asked, q0 is not of this manifest
    assert (found["benchmark"], found["overall"]["num_right"], found["overall"]["num_questions"]) == ("mlvu-dev", 1, 3)
    assert found["counts"]["missing"] == 1


def test_benchmarks_in_one_run_are_reported_apart(write_run, capsys):
    both = write_run("both", *letters("AA"), row("x", "w", benchmark="lvbench", video_type="tv"))
    assert evaluate.main([both]) == 0
    printed = capsys.readouterr().out
    assert "MLVU test: accuracy" in printed
    assert "LVBench: accuracy" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "holds no answers to these questions: name the --output of run.py"),
        (["--manifest", "none.parquet"], "there is no such file"),
    ],
)
def test_what_cannot_be_scored_exits_2(tmp_path, capsys, options, message):
    (tmp_path / "empty").mkdir()
    assert evaluate.main([str(tmp_path / "empty"), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_submission_is_for_one_run_of_one_benchmark(write_run, tmp_path, capsys):
    runs = [write_run("one", *letters("A")), write_run("two", *letters("B"))]
    target = tmp_path / "submission.json"
    assert evaluate.main([*runs, "--submission", str(target)]) == 2
    assert "--submission is for one run of one benchmark, got 2" in capsys.readouterr().err
    assert evaluate.main([runs[1], "--submission", str(target)]) == 0
    assert json.loads(target.read_text()) == [{"question_id": "AR_0", "question_type": "ego", "option": "B"}]
